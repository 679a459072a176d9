package swarmsim

// join lets a node into the swarm: the seed tells it whom to meet, and it dials
// them.
func (s *sim) join(n *node) {
	if n.silent {
		return
	}
	var others []*node
	for _, m := range s.members {
		if !m.dead {
			others = append(others, m)
		}
	}
	s.rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	others = others[:min(len(others), s.sc.Neighbours)]
	s.members = append(s.members, n)
	n.arrived = true
	n.rewindow()
	s.meet(n, s.seed)
	s.after(s.sc.RTT, func(int) {
		for _, m := range others {
			if !m.dead && !n.dead {
				s.meet(n, m)
			}
		}
	})
}

// meet makes two nodes neighbours.
func (s *sim) meet(a, b *node) {
	ab, ba := newLink(a, b), newLink(b, a)
	ab.back, ba.back = ba, ab
	for _, l := range []*link{ab, ba} {
		n, peer := l.from, l.to
		lonely := n.lonely()
		n.links = append(n.links, l)
		n.picker.AddNeighbour(peer.id)
		l.rouse()
		if lonely && !peer.seed {
			n.tellAll()
		}
		n.pump()
	}
}

// forget drops a neighbour and what was offered to it.
func (n *node) forget(l *link) {
	l.gone = true
	n.links = without(n.links, l)
	n.picker.RemoveNeighbour(l.to.id)
	for i := len(n.offers) - 1; i >= 0; i-- {
		if o := n.offers[i]; o.l == l && n.close(o) {
			n.picker.EndUpload(o.Offer)
		}
	}
	if n.lonely() {
		n.tellAll()
	}
	n.pump()
}

// fallSilent ends all that a node does. Its neighbours notice at once if its
// connections break, else when nothing has come for a while.
func (n *node) fallSilent(dead bool) {
	s := n.s
	if n.silent {
		return
	}
	n.silent, n.dead = true, dead
	s.expect()
	for i := len(n.transfers) - 1; i >= 0; i-- {
		n.transfers[i].breakOff(n)
	}
	if dead {
		s.after(s.oneWay, func(int) { s.drop(n) })
		return
	}
	s.after(quietAfter+tick, func(int) {
		for _, l := range n.links {
			l.to.picker.SetQuiet(n.id, true)
			l.to.pump()
		}
	})
	s.after(goneAfter+tick, func(int) { s.drop(n) })
}

// drop takes a silent node out of the swarm.
func (s *sim) drop(n *node) {
	n.dead = true
	for _, l := range n.links {
		l.gone = true
		l.to.forget(l.back)
	}
	n.links = nil
}
