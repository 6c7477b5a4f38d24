package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Health is the answer of a process that lives.
type Health struct {
	Status string `json:"status" enum:"ok"`
}

// Ready says whether traffic may come here.
type Ready struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons" doc:"why not; empty where ready" nullable:"false"`
}

func (a *API) routeSystem() {
	a.plain("health", "/healthz", "Does the process live?", map[int]content{200: {jsonType, new(Health)}}, health)
	a.plain("ready", "/readyz", "May traffic come here?", map[int]content{200: {jsonType, new(Ready)}, 503: {jsonType, new(Ready)}}, ready(a.o.NotReady))
	a.plain("metrics", "/metrics", "Metrics, for Prometheus", map[int]content{200: {"text/plain", nil}}, a.o.Metrics.ServeHTTP)
	a.plain("openapi", "/openapi.json", "This document", map[int]content{200: {openAPIType, nil}},
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", openAPIType)
			_, _ = w.Write(a.document) // whoever hung up needs no answer
		})
}

const openAPIType = "application/openapi+json"

// plain adds a GET route that needs no key.
func (a *API) plain(id, path, summary string, answers map[int]content, serve http.HandlerFunc) {
	op := &huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Responses: a.contents(answers), Security: noKey}
	a.huma.OpenAPI().AddOperation(op)
	a.huma.Adapter().Handle(op, func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		serve(w, r)
	})
}
