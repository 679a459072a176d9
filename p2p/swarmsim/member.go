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
	n.arrived, n.progress = true, s.now
	if s.entries() < s.sc.Entry {
		n.entry = true
		s.deal(n)
	}
	n.rewindow()
	n.tellAll()
	n.slotsChanged()
	s.after(s.sc.RTT, func(int) {
		for _, m := range others {
			if m.dead || n.dead {
				continue
			}
			lonely := m.lonely()
			n.know(m)
			m.know(n)
			if lonely {
				m.tellAll()
			}
			m.pump()
		}
		n.tellAll()
		n.pump()
	})
}

// entries counts the peers that the seed deals with for good.
func (s *sim) entries() int {
	c := 0
	for _, m := range s.members {
		if m.entry {
			c++
		}
	}
	return c
}

// deal makes the seed and a peer neighbours.
func (s *sim) deal(n *node) {
	if n.linkTo(s.seed) == nil {
		n.know(s.seed)
		s.seed.know(n)
	}
}

// attend lets the seed help who starves or knows nobody else, as long as that
// lasts.
func (s *sim) attend(n *node) {
	needy := n.missing > 0 && (n.starved() || n.lonely())
	if n.starved() {
		n.tellAll()
	}
	if n.entry {
		return
	}
	switch l := s.seed.linkTo(n); {
	case needy && l == nil:
		s.deal(n)
		n.tellAll()
	case !needy && l != nil && !s.seed.offersTo(n):
		s.seed.forget(n)
		n.forget(s.seed)
	}
}

func (n *node) offersTo(peer *node) bool {
	for _, o := range n.offers {
		if o.to == peer {
			return true
		}
	}
	return false
}

// replace lets the seed deal with another member instead of a silent one.
func (s *sim) replace(n *node) {
	if !n.entry {
		return
	}
	n.entry = false
	var others []*node
	for _, m := range s.members {
		if !m.silent && !m.entry {
			others = append(others, m)
		}
	}
	if len(others) > 0 {
		m := others[s.rand.IntN(len(others))]
		m.entry = true
		s.deal(m)
		m.tellAll()
	}
}

// drop takes a silent node out of the swarm.
func (s *sim) drop(n *node) {
	n.dead = true
	s.replace(n)
	for _, l := range n.links {
		l.peer.forget(n)
		if l.peer.lonely() {
			l.peer.tellAll()
		}
		l.peer.pump()
	}
	n.links = nil
}
