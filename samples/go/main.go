// A small server that says who it is: two commands in one module would need cmd/, one lives at its root.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"runtime"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

func main() {
	var application struct {
		Name string `json:"application_name"`
	}
	_ = json.Unmarshal([]byte(os.Getenv("VCAP_APPLICATION")), &application)

	router := chi.NewRouter()
	router.Use(middleware.Logger)
	router.Get("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"app":            application.Name,
			"instance_index": os.Getenv("CF_INSTANCE_INDEX"),
			"go":             runtime.Version(),
		})
	})
	router.Get("/health", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	router.Get("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(1) })

	port := os.Getenv("PORT")
	log.Printf("listening on %s", port)
	log.Fatal(http.ListenAndServe(":"+port, router))
}
