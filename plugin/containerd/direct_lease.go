package containerd

import (
	"context"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"google.golang.org/grpc"
)

const (
	// leasePrefix begins the names of leases for layers that are received
	// directly: shoal/direct/<run>/<number>.
	leasePrefix = "shoal/direct/"
	// leaseFor is when a lease ends by itself, pullTimeout when a pull lets go
	// of what it still holds: before that.
	leaseFor    = time.Hour
	pullTimeout = 50 * time.Minute
	// reconnects bounds the attempts to reach a containerd that has just started.
	reconnects = 5
	// letGoTries is how often the deletion of a lease is tried.
	letGoTries = 5
	// manyLeases are too many to look through every few seconds.
	manyLeases = 256
)

func (p *pull) createLease(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openWriterTimeout)
	defer cancel()
	for try := 1; ; try++ {
		_, err := p.d.s.client.LeasesService().Create(ctx, leases.WithID(p.lease), leases.WithExpiration(leaseFor))
		if !errdefs.IsUnavailable(err) || try == reconnects {
			return err
		}
		// It has just spoken to the mirror: it has started since this process
		// has last tried to connect.
		p.d.s.connectNow()
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// connectNow ends the pause after an attempt to connect.
func (s *Store) connectNow() {
	if conn, ok := s.client.Conn().(*grpc.ClientConn); ok && conn != nil {
		conn.ResetConnectBackoff()
	}
}

// deleteLease lets containerd's garbage collector have what nobody else uses.
func (p *pull) deleteLease(ctx context.Context) {
	for range letGoTries {
		err := p.d.s.deleteLease(ctx, p.lease)
		if err == nil {
			return
		}
		log.G(ctx).WithError(err).WithField("lease", p.lease).Warn("store: a lease could not be deleted; it ends by itself within the hour")
		if sleep(p.d.ctx, time.Second) != nil {
			return
		}
	}
}

func (s *Store) deleteLease(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := s.client.LeasesService().Delete(ctx, leases.Lease{ID: id}); !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// dropFormerLeases deletes those that a run before this one left: what they keep
// belongs to nobody. It tries until containerd answers.
func (d *Direct) dropFormerLeases() {
	ctx := namespaces.WithNamespace(d.ctx, d.s.cfg.Namespace)
	for {
		err := d.dropLeases(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		log.G(ctx).WithError(err).Debug("store: the leases of former runs cannot be deleted yet")
		if sleep(ctx, dialTimeout) != nil {
			return
		}
	}
}

func (d *Direct) dropLeases(ctx context.Context) error {
	list, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all, err := d.s.client.LeasesService().List(list)
	if err != nil {
		return err
	}
	for _, l := range all {
		if !strings.HasPrefix(l.ID, leasePrefix) || strings.HasPrefix(l.ID, leasePrefix+d.id+"/") {
			continue
		}
		if err := d.s.deleteLease(ctx, l.ID); err != nil {
			return err
		}
		log.G(ctx).WithField("lease", l.ID).Info("deleted the lease that a former run left in containerd")
	}
	return nil
}

// pulled reports whether somebody's lease holds the manifest, as everyone's does
// who pulls.
func (p *pull) pulled(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	service := p.d.s.client.LeasesService()
	all, err := service.List(ctx)
	if err != nil || len(all) > manyLeases {
		return true, err
	}
	for _, l := range all {
		if strings.HasPrefix(l.ID, leasePrefix) || strings.HasPrefix(l.ID, pinPrefix) {
			continue
		}
		resources, err := service.ListResources(ctx, l)
		if err != nil && !errdefs.IsNotFound(err) {
			return true, err
		}
		for _, r := range resources {
			if r.Type == "content" && r.ID == p.manifest.String() {
				return true, nil
			}
		}
	}
	return false, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
