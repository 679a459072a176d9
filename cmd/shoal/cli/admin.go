package cli

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/p2p"
)

// Status is what the status API answers.
type Status struct {
	Version Version    `json:"version"`
	Role    string     `json:"role"`             // the command: agent, supernode or up
	Mirror  string     `json:"mirror,omitempty"` // address of the registry mirror
	Store   StoreInfo  `json:"store"`
	Node    p2p.Status `json:"node"`
}

// StoreInfo says where blobs are kept.
type StoreInfo struct {
	Kind        string `json:"kind"`
	Dir         string `json:"dir,omitempty"`
	Address     string `json:"address,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	ContentPath string `json:"contentPath,omitempty"`
}

const statusPath = "/api/v1/status"

// newMetrics makes the metrics of a process, those of Go included.
func newMetrics() (*prometheus.Registry, *metrics.Set) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg, metrics.New(reg)
}

// admin adds metrics, health and status to mux.
func admin(mux *http.ServeMux, reg *prometheus.Registry, status func() Status, profile bool) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	ok := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) }
	mux.HandleFunc("GET /healthz", ok)
	mux.HandleFunc("GET /readyz", ok) // addresses are bound before anything is served
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(status())
	})
	if profile {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
}
