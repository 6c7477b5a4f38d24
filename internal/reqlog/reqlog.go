// Package reqlog writes the one line of a request that the private side logs: by its route, since a path may hold anything, and
// without who sent it.
package reqlog

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"
)

// Writer notes what was answered, and takes in silence what can't be sent any more: its error would name the client's address.
// It is for one request.
type Writer struct {
	http.ResponseWriter
	Status  int
	Started bool
	Gone    bool // nothing arrives any more
}

// WriteHeader implements http.ResponseWriter; only the first call counts.
func (w *Writer) WriteHeader(status int) {
	if w.Started {
		return
	}
	w.Started, w.Status = true, status
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter. It never fails.
func (w *Writer) Write(b []byte) (int, error) {
	if !w.Started {
		w.WriteHeader(http.StatusOK)
	}
	if !w.Gone {
		_, err := w.ResponseWriter.Write(b)
		w.Gone = err != nil
	}
	return len(b), nil
}

// Unwrap is for http.ResponseController.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Line writes a request's line. pattern is that of its route, "" where there is none.
func Line(ctx context.Context, logger *slog.Logger, level slog.Level, given, pattern string, status int, took time.Duration) {
	method, route, _ := strings.Cut(pattern, " ")
	if route == "" {
		method, route = knownMethod(given), "none"
	}
	logger.Log(ctx, level, "request", "method", method, "route", route, "status", status, "duration", took.Round(time.Microsecond))
}

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// Panicked tells of a handler's panic, from the deferred function that recovered cause. The panic's value may hold what was
// sent, so only its type and where it came from are logged.
func Panicked(logger *slog.Logger, cause any) {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])])
	var at []string
	for {
		frame, more := frames.Next()
		at = append(at, frame.Function)
		if !more {
			break
		}
	}
	kind := "error"
	if _, ok := cause.(error); !ok {
		kind = "other"
	}
	logger.Error("a handler panicked", "value", kind, "stack", strings.Join(at, " < "))
}
