// Package metrics declares every Prometheus metric of Shoal in one place.
//
// Bytes are counted where they cross a socket. A Set belongs to one node; in a
// process with several, each is registered with labels of its own.
package metrics

import "github.com/prometheus/client_golang/prometheus"

// Values of the label "source" of [Set.BlobBytes].
const (
	SourceUpstream  = "upstream"
	SourceSupernode = "supernode"
	SourcePeer      = "peer"
	SourceStore     = "store"
)

// Set is the metrics of one node, for a registry to collect. The zero value is
// not usable; see [New].
type Set struct {
	BlobBytes      *prometheus.CounterVec // by source
	UploadBytes    prometheus.Counter
	UpstreamBytes  prometheus.Counter
	SeedBytes      prometheus.Counter
	IngestBytes    prometheus.Counter
	BlobSeconds    prometheus.Histogram
	FirstByte      prometheus.Histogram
	PiecesRejected *prometheus.CounterVec // by reason
	Peers          prometheus.Gauge
	Tasks          prometheus.Gauge
	AnnouncedBlobs prometheus.Gauge
	Fallback       *prometheus.CounterVec // by reason
}

// New makes the metrics.
func New() *Set {
	s := &Set{
		BlobBytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_blob_bytes_total",
			Help: "Blob bytes received, by source; source=store counts bytes served to clients from the content store.",
		}, []string{"source"}),
		UploadBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_upload_bytes_total",
			Help: "Piece bytes sent to other nodes.",
		}),
		UpstreamBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_upstream_bytes_total",
			Help: "Blob bytes received from upstream registries.",
		}),
		SeedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_seed_bytes_total",
			Help: "Piece bytes sent to agents by the supernode.",
		}),
		IngestBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_ingest_bytes_total",
			Help: "Layer bytes written into containerd by the agent, with containerd.ingest set to direct.",
		}),
		BlobSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "shoal_blob_seconds",
			Help:    "Seconds from the start of a fill to its last verified byte.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 18),
		}),
		FirstByte: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "shoal_blob_first_byte_seconds",
			Help:    "Seconds from a blob request to the first verified byte.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		PiecesRejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_pieces_rejected_total",
			Help: "Pieces thrown away, by reason.",
		}, []string{"reason"}),
		Peers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "shoal_peers",
			Help: "Connected neighbours, the supernode not counted.",
		}),
		Tasks: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "shoal_tasks",
			Help: "Blobs being filled or served to the swarm now.",
		}),
		AnnouncedBlobs: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "shoal_announced_blobs",
			Help: "Blobs of the content store that the supernode knows of; on the supernode, those of all agents.",
		}),
		Fallback: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_fallback_total",
			Help: "Times a node went to the upstream itself, by reason.",
		}, []string{"reason"}),
	}
	for _, source := range []string{SourceUpstream, SourceSupernode, SourcePeer, SourceStore} {
		s.BlobBytes.WithLabelValues(source)
	}
	return s
}

func (s *Set) all() []prometheus.Collector {
	return []prometheus.Collector{
		s.BlobBytes, s.UploadBytes, s.UpstreamBytes, s.SeedBytes, s.IngestBytes, s.BlobSeconds,
		s.FirstByte, s.PiecesRejected, s.Peers, s.Tasks, s.AnnouncedBlobs, s.Fallback,
	}
}

// Describe is that of [prometheus.Collector].
func (s *Set) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range s.all() {
		c.Describe(ch)
	}
}

// Collect is that of [prometheus.Collector].
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	for _, c := range s.all() {
		c.Collect(ch)
	}
}

var _ prometheus.Collector = (*Set)(nil)
