package sample;

import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** A small Spring Boot app that says who it is. */
@SpringBootApplication
@RestController
public class Application {
    public static void main(String[] arguments) {
        SpringApplication.run(Application.class, arguments);
    }

    @GetMapping("/")
    Map<String, String> who() {
        return Map.of(
                "instance_index", System.getenv().getOrDefault("CF_INSTANCE_INDEX", ""),
                "java", Runtime.version().toString(),
                "heap_mb", String.valueOf(Runtime.getRuntime().maxMemory() / 1024 / 1024));
    }

    @GetMapping("/health")
    String health() {
        return "ok";
    }

    @GetMapping("/crash")
    void crash() {
        Runtime.getRuntime().halt(1);
    }
}
