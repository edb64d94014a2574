<?php
// A small front controller that says who it is; its one package is below packages/, as a private one would be.
require __DIR__ . '/vendor/autoload.php';

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$application = json_decode(getenv('VCAP_APPLICATION') ?: '{}');
if ($path === '/crash') {
    posix_kill(posix_getppid(), 9);
}
if ($path !== '/' && $path !== '/health') {
    http_response_code(404);
}
header('Content-Type: application/json');
echo json_encode([
    'app' => $application->application_name ?? 'not on a platform',
    'instance_index' => (int) getenv('CF_INSTANCE_INDEX'),
    'php' => PHP_VERSION,
    'greeting' => Sample\Greeting::for('PHP'),
    'path' => $path,
]);
