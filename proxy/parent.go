package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// maxConnectHead bounds what a parent answers to CONNECT, in bytes.
const maxConnectHead = 16 << 10

// parent returns the proxy by which a URL is reached, nil if there is none. Where
// there is one it resolves names, so the guard sees addresses alone.
func (p *Proxy) parent(u *url.URL) (*url.URL, error) {
	via, err := p.cfg.Parent(&http.Request{URL: u})
	if err != nil || via == nil {
		return nil, err
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		_, port, _ := net.SplitHostPort(withPort(u.Scheme, u.Host))
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, err
		}
		if err := p.cfg.Guard.check(netip.AddrPortFrom(addr, uint16(n)), isLocal); err != nil {
			return nil, err
		}
	}
	return via, nil
}

// reach connects to an origin, by the parent if there is one.
func (p *Proxy) reach(ctx context.Context, to target) (net.Conn, error) {
	via, err := p.parent(&url.URL{Scheme: "https", Host: to.String()})
	if err != nil {
		return nil, err
	}
	if via == nil {
		return p.dialer.DialContext(ctx, "tcp", to.String())
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := p.dialParent(ctx, via)
	if err != nil {
		return nil, fmt.Errorf("by the proxy %s: %w", via.Redacted(), err)
	}
	// ctx ends what follows.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	if err := connectBy(c, via, to); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("by the proxy %s: %w", via.Redacted(), errors.Join(err, context.Cause(ctx)))
	}
	return c, nil
}

func (p *Proxy) dialParent(ctx context.Context, via *url.URL) (net.Conn, error) {
	if via.Scheme != "http" && via.Scheme != "https" {
		return nil, errors.New("only http and https proxies are known")
	}
	at := withPort(via.Scheme, via.Host)
	if via.Scheme == "http" {
		return p.dialer.DialContext(ctx, "tcp", at)
	}
	return (&tls.Dialer{NetDialer: p.dialer, Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", at)
}

// connectBy asks a parent for a tunnel.
func connectBy(c net.Conn, via *url.URL, to target) error {
	r := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: to.String()}, Host: to.String(), Header: http.Header{"User-Agent": {""}}}
	if via.User != nil {
		password, _ := via.User.Password()
		r.SetBasicAuth(via.User.Username(), password)
		r.Header["Proxy-Authorization"] = r.Header["Authorization"]
		r.Header.Del("Authorization")
	}
	if err := r.Write(c); err != nil {
		return err
	}
	head, err := readHead(c)
	if err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), r)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}

// readHead reads the head of a response, and nothing of what follows: that goes
// from socket to socket.
func readHead(c net.Conn) ([]byte, error) {
	var head []byte
	one := make([]byte, 1)
	for len(head) < maxConnectHead {
		if _, err := c.Read(one); err != nil {
			return nil, err
		}
		if head = append(head, one[0]); bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			return head, nil
		}
	}
	return nil, errors.New("its answer is too large")
}
