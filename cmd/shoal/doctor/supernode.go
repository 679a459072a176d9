package doctor

import (
	"context"
	"fmt"
	"net"

	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/p2p"
)

// checkSupernode asks the supernode, and the agent what it makes of it.
func (n *node) checkSupernode(ctx context.Context) answer {
	if n.agent != nil && n.agent.Role == config.Up {
		return fine("it is in the same process as the mirror (shoal up)")
	}
	addr := n.Config.Supernode()
	if addr == "" {
		return warn("none is configured: every blob comes from its upstream, and nodes share nothing").
			do("run one, on one host of the cluster: shoal supernode").
			do("and name it to the agent: --supernodes HOST:8002, or supernodes: [\"HOST:8002\"] in its configuration")
	}
	p, c, err := ask(ctx, addr)
	if err != nil {
		a := fail("%s cannot be reached from here: %s", addr, why(err))
		if n.agent != nil && connected(n.agent) {
			a.detail += "; the agent still is connected to it"
		}
		return a.do("start it, on the host of that name: shoal supernode").
			do("or let a firewall on the way pass TCP port %s", portOf(addr)).
			do("or correct supernodes in the agent's configuration")
	}
	n.clocks = append(n.clocks, c)
	a := judgeSupernode(addr, p, n.agent, n.Version)
	if a.status != Failure {
		n.supernode = p
	}
	return a
}

func judgeSupernode(addr string, p, agent *Process, version string) answer {
	switch {
	case p.Role != config.Supernode && p.Role != config.Up:
		return fail("what answers at %s is an %s, not a supernode", addr, p.Role).
			do("name the supernode's own address, by default port 8002: supernodes: [\"HOST:8002\"]")
	case agent != nil && !connected(agent):
		return fail("%s answers, but the agent is not connected to it", addr).
			do("run this again in some seconds: the agent tries again with a growing pause").
			do("if that does not help, read what the agent's log says of the supernode")
	case p.Version.Version != version:
		return warn("%s answers and is shoal %s, while this is %s", addr, p.Version.Version, version).
			do("run the same version on all nodes")
	}
	agents := 0
	for _, peer := range p.Node.Peers {
		if peer.Address != "" {
			agents++
		}
	}
	if agent == nil {
		return fine("%s answers; %s connected to it", addr, are(agents, "agent"))
	}
	return fine("%s answers, the agent is connected to it; %s in all", addr, plural(agents, "agent"))
}

func are(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return fmt.Sprintf("%d %ss are", n, what)
}

func connected(agent *Process) bool {
	return agent.Node.Supernode != nil && agent.Node.Supernode.Connected
}

func portOf(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "?"
	}
	return port
}

// checkPeers looks for this node at the address that the others are told.
func (n *node) checkPeers(ctx context.Context) answer {
	switch {
	case n.agent == nil:
		return skip("no agent")
	case n.agent.Role == config.Up:
		return skip("shoal up has none: agents reach it at the supernode's address")
	case n.supernode == nil:
		return skip("without a supernode there are no peers")
	}
	// A supernode that the agent has just found may not list it yet.
	super := n.supernode
	addr := listed(super, n.agent.Node.ID)
	if addr == "" {
		if p, _, err := ask(ctx, n.Config.Supernode()); err == nil {
			addr = listed(p, n.agent.Node.ID)
		}
	}
	if a := judgeAdvertised(addr, n.Config); a.status == Failure {
		return a
	}
	id, err := p2p.Identify(ctx, addr)
	return judgePeer(addr, id, err, n.agent, n.Config)
}

// listed is the address under which a supernode knows an agent.
func listed(supernode *Process, id string) string {
	for _, p := range supernode.Node.Peers {
		if p.ID == id {
			return p.Address
		}
	}
	return ""
}

const setAdvertise = "set peer.advertise in the agent's configuration to an address of this machine that the other nodes reach, such as %s, and restart the agent"

// example is an address of this machine, as it seems.
func example(port string) string {
	host := "10.0.0.5"
	for _, a := range addresses() {
		if ip := net.ParseIP(a); ip.IsGlobalUnicast() && ip.To4() != nil {
			host = a
			break
		}
	}
	return net.JoinHostPort(host, port)
}

// judgeAdvertised judges an address before anybody dials it.
func judgeAdvertised(addr string, cfg *config.Config) answer {
	host, port, err := net.SplitHostPort(addr)
	super, _, _ := net.SplitHostPort(cfg.Supernode())
	switch {
	case addr == "":
		return fail("the supernode does not list this node among its agents").
			do("run this again in some seconds; if that does not help, restart the agent and read its log")
	case err != nil || unspecified(host):
		return fail("the supernode tells the others that this node is at %s, which is no address", addr).do(setAdvertise, example(portOf(cfg.PeerListen)))
	case loopback(host) && !loopback(super):
		return fail("the supernode tells the others that this node is at %s, where they find themselves", addr).do(setAdvertise, example(port))
	}
	return fine("%s", addr)
}

func judgePeer(addr, id string, err error, agent *Process, cfg *config.Config) answer {
	host, port, _ := net.SplitHostPort(addr)
	switch {
	case err != nil:
		return fail("the others are told that this node is at %s: %s", addr, why(err)).
			do("let peer.listen cover that address, as the default :65002 does, and let firewalls pass TCP port %s from the other nodes", port).
			do("or "+setAdvertise, example(port))
	case id != agent.Node.ID:
		return fail("the others are told that this node is at %s, where another node answers", addr).do(setAdvertise, example(portOf(cfg.PeerListen)))
	case loopback(host):
		return warn("this node is at %s for the others: right if all run on this machine, and wrong else", addr).
			do(setAdvertise, example(port))
	}
	if k := len(agent.Node.Peers); k > 0 {
		return fine("the others find this node at %s; it is connected to %s now", addr, plural(k, "peer"))
	}
	return fine("the others find this node at %s; from here it answers", addr)
}
