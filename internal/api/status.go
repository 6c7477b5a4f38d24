package api

import (
	"net/http"
)

// NewStatus is the private side of a role that has no API: /healthz, /readyz and /metrics, without a
// key. notReady and metrics are as in Options.
func NewStatus(notReady func() []string, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", health)
	mux.HandleFunc("GET /readyz", ready(notReady))
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		newProblem(http.StatusNotFound, "here are /healthz, /readyz and /metrics alone; the API is the admin role's").write(w)
	})
	return mux
}

func health(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, Health{"ok"}) }

func ready(notReady func() []string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		reasons := append([]string{}, notReady()...)
		status := http.StatusOK
		if len(reasons) > 0 {
			status = http.StatusServiceUnavailable
		}
		writeJSON(w, status, Ready{len(reasons) == 0, reasons})
	}
}
