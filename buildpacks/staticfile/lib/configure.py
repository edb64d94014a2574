"""configure.py BUILD_DIR LIB_DIR: public/ and nginx/conf/nginx.conf.in out of an app's files and its Staticfile."""

import os
import re
import shutil
import sys

SWITCHES = {
    "directory": "listing of folders",
    "ssi": "server-side includes",
    "pushstate": "pushstate",
    "http_strict_transport_security": "strict transport security",
    "http_strict_transport_security_include_subdomains": "strict transport security for subdomains",
    "http_strict_transport_security_preload": "strict transport security preload",
    "force_https": "redirect to HTTPS",
    "host_dot_files": "dot files are served",
    "enable_http2": "HTTP/2",
}
ON = {"visible", "enabled", "true", "yes", "on"}
OFF = {"", "hidden", "disabled", "false", "no", "off"}
# Never served: they steer the platform, or hold secrets.
NOT_CONTENT = {"Staticfile", "Staticfile.auth", "manifest.yml", ".profile", ".profile.d", ".cloudfoundry", ".cfignore", "nginx.conf", "Procfile"}


class Fault(Exception):
    pass


def read_staticfile(path):
    """`key: value` lines, and `status_codes:` with indented `404: /404.html` lines below it."""
    options = {"status_codes": {}}
    section = None
    if not os.path.exists(path):
        return options
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, raw in enumerate(file, 1):
            line = re.sub(r"(^|\s)#.*", "", raw.rstrip())
            if line.strip() in ("", "---"):
                continue
            found = re.match(r"(\s*)([\w-]+)\s*:\s*(.*)$", line)
            if not found:
                raise Fault(f"Staticfile, line {number}: expected `key: value`, found `{line.strip()}`")
            indent, key, value = found[1], found[2], found[3].strip().strip("\"'")
            if indent and section == "status_codes":
                if not re.fullmatch(r"[1-5]\d\d", key) or not value:
                    raise Fault(f"Staticfile, line {number}: status_codes needs lines such as `404: /404.html`")
                options["status_codes"][key] = value
            elif key == "status_codes":
                section = key
            elif key in SWITCHES:
                section = None
                if value.lower() not in ON | OFF:
                    raise Fault(f"Staticfile, line {number}: {key} is `{value}`; use `enabled` or `disabled`")
                options[key] = value.lower() in ON
            elif key in ("root", "location_include"):
                section = None
                options[key] = value
            else:
                section = None
                print(f"       **WARNING** Staticfile, line {number}: there is no option `{key}`; it has no effect")
    return options


def content_root(build, options):
    root = options.get("root") or "."
    path = os.path.realpath(os.path.join(build, root))
    inside = path == os.path.realpath(build) or path.startswith(os.path.realpath(build) + os.sep)
    if not inside:
        raise Fault(f"Staticfile: root `{root}` is outside of the app")
    if not os.path.isdir(path):
        raise Fault(f"Staticfile: root `{root}` is not a folder of the app")
    return path


def move_content(build, root, options):
    """All of the root, but for what is no content, ends in public/; nothing is copied."""
    staged = os.path.join(build, ".content")
    os.mkdir(staged)
    at_top = root == os.path.realpath(build)
    for name in os.listdir(root):
        if name == ".content" or (at_top and (name in NOT_CONTENT or name == "nginx")):
            continue
        if name == ".nginx-content":
            os.rename(os.path.join(root, name), os.path.join(staged, "nginx"))
            continue
        if name.startswith(".") and name != ".well-known" and not options.get("host_dot_files"):
            continue
        os.rename(os.path.join(root, name), os.path.join(staged, name))
    public = os.path.join(build, "public")
    if os.path.lexists(public):
        shutil.rmtree(public)
    os.rename(staged, public)


def place_conf(build, root):
    """nginx/conf holds what the app brought for nginx; returns its own nginx.conf, if it has one."""
    conf = os.path.join(build, "nginx", "conf")
    os.makedirs(conf, exist_ok=True)
    own = None
    for folder in {build, root}:
        path = os.path.join(folder, "nginx.conf")
        if os.path.isfile(path):
            own = open(path, encoding="utf-8").read()
            os.remove(path)
    mime = os.path.join(conf, "mime.types")
    if not os.path.exists(mime):
        shutil.copyfile("/etc/nginx/mime.types", mime)
    return conf, own


def markers(text):
    """The three ways in which apps name the environment in an nginx.conf become @@NAME@@, which boot.sh fills in."""
    text = re.sub(r"<%=\s*ENV\[[\"'](\w+)[\"']\]\s*%>", r"@@\1@@", text)
    text = re.sub(r"\{\{\s*env\s+[\"'](\w+)[\"']\s*\}\}", r"@@\1@@", text)
    return re.sub(r"\{\{\s*port\s*\}\}", "@@PORT@@", text)


def runnable(text):
    """What nginx needs to run in the foreground without rights, where the app's own configuration leaves it to defaults."""
    run = "@@APP_ROOT@@/nginx/run"
    if not re.search(r"^\s*daemon\s", text, re.M):
        text = f"daemon off;\n{text}"
    if not re.search(r"^\s*pid\s", text, re.M):
        text = f"pid {run}/nginx.pid;\n{text}"
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        if f"{kind}_temp_path" not in text:
            text = re.sub(r"\bhttp\s*\{", lambda found: f"{found[0]}\n  {kind}_temp_path {run}/{kind};", text, count=1)
    return text


def server_block(options, has_auth):
    lines = []
    if options.get("force_https"):
        lines.append("if ($http_x_forwarded_proto != https) { return 301 https://$host$request_uri; }")
    if options.get("http_strict_transport_security"):
        value = "max-age=31536000"
        if options.get("http_strict_transport_security_include_subdomains"):
            value += "; includeSubDomains"
        if options.get("http_strict_transport_security_preload"):
            value += "; preload"
        lines.append(f'add_header Strict-Transport-Security "{value}" always;')
    lines += [f"error_page {code} {page};" for code, page in options["status_codes"].items()]
    if not options.get("host_dot_files"):
        lines.append(r"location ~ /\.(?!well-known(/|$)) { return 404; }")
    lines.append("location / {")
    lines += ["  " + line for line in location_block(options, has_auth)]
    lines.append("}")
    return "\n".join("    " + line for line in lines)


def location_block(options, has_auth):
    lines = ["index index.html index.htm;"]
    if options.get("pushstate"):
        lines.append("try_files $uri $uri/ /index.html;")
    if options.get("directory"):
        lines.append("autoindex on;")
    if options.get("ssi"):
        lines.append("ssi on;")
    if has_auth:
        lines.append('auth_basic "Restricted";')
        lines.append("auth_basic_user_file @@APP_ROOT@@/nginx/conf/.htpasswd;")
    if options.get("location_include"):
        lines.append(f"include @@APP_ROOT@@/nginx/conf/{options['location_include']};")
    return lines


def main(build, lib):
    options = read_staticfile(os.path.join(build, "Staticfile"))
    root = content_root(build, options)
    if options.get("root"):
        print(f"       Root folder {options['root']}")
    has_conf = os.path.isdir(os.path.join(build, "nginx", "conf"))
    if not has_conf and os.path.isdir(os.path.join(build, "nginx")):
        # A folder of content that has our folder's name: out of the way until it moves with the rest.
        aside = os.path.join(build, ".nginx-content")
        os.rename(os.path.join(build, "nginx"), aside)
        root = re.sub("^" + re.escape(os.path.join(build, "nginx")) + r"(?=/|$)", aside, root)
    conf, own = place_conf(build, root)
    auth = next((path for path in (os.path.join(folder, "Staticfile.auth") for folder in (build, root)) if os.path.isfile(path)), None)
    if auth:
        os.replace(auth, os.path.join(conf, ".htpasswd"))
        print("       Basic authentication by Staticfile.auth")
    for key, meaning in SWITCHES.items():
        if options.get(key):
            print(f"       On: {meaning}")
    move_content(build, root, options)
    if own is not None:
        print("       Using the app's own nginx.conf")
        text = runnable(markers(own))
        open(os.path.join(conf, "own"), "w").close()
    else:
        with open(os.path.join(lib, "nginx.conf.in"), encoding="utf-8") as file:
            text = file.read()
        text = text.replace("%SERVER%", server_block(options, auth is not None))
        text = text.replace("%HTTP2%", " http2" if options.get("enable_http2") else "")
    with open(os.path.join(conf, "nginx.conf.in"), "w", encoding="utf-8") as file:
        file.write(text)
    shutil.copy(os.path.join(lib, "boot.sh"), os.path.join(build, "boot.sh"))
    os.chmod(os.path.join(build, "boot.sh"), 0o755)


try:
    main(sys.argv[1], sys.argv[2])
except Fault as fault:
    print(f"       **ERROR** {fault}", file=sys.stderr)
    sys.exit(1)
