package testbed

import (
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// server answers on the registry's host, for this process.
type server struct {
	http.Server
	wg sync.WaitGroup
}

// Serve answers at a port of the registry's host, over TLS if cfg is given, until
// the cluster is closed.
func (c *Cluster) Serve(port int, handler http.Handler, cfg *tls.Config) error {
	l, err := c.registry.listen(net.JoinHostPort(registryIP, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	if cfg != nil {
		l = tls.NewListener(l, cfg)
	}
	s := &server{Server: http.Server{Handler: handler}}
	s.wg.Go(func() { _ = s.Server.Serve(l) })
	c.servers = append(c.servers, s)
	return nil
}

func (s *server) close() {
	_ = s.Close()
	s.wg.Wait()
}
