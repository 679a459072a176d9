// Package admin answers operators over HTTP:
//
//	GET /metrics          Prometheus metrics
//	GET /healthz          the process answers
//	GET /readyz           200 while it serves, else 503
//	GET /api/v1/status    what it does now, as JSON
//	GET /debug/pprof/     Go's profiles, if they are switched on
package admin

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// StatusPath is where the status API answers.
const StatusPath = "/api/v1/status"

// Config is what is told to operators.
type Config struct {
	Metrics prometheus.Gatherer // nil: no /metrics
	Status  func() any          // becomes JSON
	Ready   func() bool
	Pprof   bool
}

// Add adds the paths to mux.
func Add(mux *http.ServeMux, cfg Config) {
	if cfg.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{}))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !cfg.Ready() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET "+StatusPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(cfg.Status())
	})
	if cfg.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
}
