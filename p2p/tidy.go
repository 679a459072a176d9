package p2p

import "time"

// look is what the node does now and then.
func (n *Node) look(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	peers := 0
	for _, nb := range n.neighbours {
		silent := now.Sub(nb.heard)
		n.picker.SetQuiet(nb.id, silent > quietAfter)
		if silent > goneAfter {
			nb.stop()
		}
		if !nb.seed {
			peers++
		}
	}
	for id, until := range n.banned {
		if now.After(until) {
			delete(n.banned, id)
		}
	}
	for _, t := range n.tasks {
		n.tidy(t, now)
	}
	n.adapt(now)
	n.cfg.Metrics.Peers.Set(float64(peers))
	n.cfg.Metrics.Tasks.Set(float64(len(n.tasks)))
	n.cfg.Metrics.AnnouncedBlobs.Set(float64(n.announced()))
}

// tidy ends a task that is of no more use. Callers hold n.mu.
func (n *Node) tidy(t *task, now time.Time) {
	unused := now.Sub(t.used)
	if len(t.contents) > 0 {
		unused = 0
	}
	switch {
	case t.err != nil:
		if now.Sub(t.ended) > failedAfter {
			n.end(t)
		}
	case t.whole && !t.filling():
		if unused > idleAfter || t.removed && unused > removedAfter {
			n.end(t)
		}
	case !t.writes() && unused > abandonedAfter:
		n.end(t)
	case t.starved():
		n.snapshotDue(t.id)
		if n.cfg.Supernode != "" && len(t.contents) > 0 && now.Sub(t.progress) > starvedFor {
			t.superFailed = true
			t.notify()
		}
	}
}

// end puts a task away. Callers hold n.mu.
func (n *Node) end(t *task) {
	if t.err == nil && !t.whole {
		n.fills--
	}
	n.remember(t)
	n.leave(t)
	n.picker.RemoveBlob(t.id)
	if n.tasks[t.id] == t {
		delete(n.tasks, t.id)
	}
	t.notify()
	t.cancel()
}
