package swarmsim

import "time"

// clock runs events in the order of their times; those of the same time in the
// order in which they were set.
type clock struct {
	now   time.Duration
	queue []event // a heap of four branches to a node
	seq   uint64
	ran   int
}

type event struct {
	at  time.Duration
	seq uint64
	do  func(arg int)
	arg int
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.seq < o.seq
}

// at sets an event.
func (c *clock) at(t time.Duration, arg int, do func(arg int)) {
	c.seq++
	e := event{at: max(t, c.now), seq: c.seq, do: do, arg: arg}
	c.queue = append(c.queue, e)
	i := len(c.queue) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&c.queue[up]) {
			break
		}
		c.queue[i] = c.queue[up]
		i = up
	}
	c.queue[i] = e
}

// after sets an event d from now.
func (c *clock) after(d time.Duration, do func(int)) { c.at(c.now+d, 0, do) }

// step runs the next event. It reports whether there was one.
func (c *clock) step() bool {
	if len(c.queue) == 0 {
		return false
	}
	e := c.pop()
	c.now = e.at
	c.ran++
	e.do(e.arg)
	return true
}

func (c *clock) pop() event {
	first, end := c.queue[0], len(c.queue)-1
	e := c.queue[end]
	c.queue[end] = event{}
	c.queue = c.queue[:end]
	for i := 0; i < end; {
		least := 4*i + 1
		if least >= end {
			c.queue[i] = e
			break
		}
		for k := least + 1; k < min(4*i+5, end); k++ {
			if c.queue[k].before(&c.queue[least]) {
				least = k
			}
		}
		if e.before(&c.queue[least]) {
			c.queue[i] = e
			break
		}
		c.queue[i] = c.queue[least]
		i = least
	}
	return first
}
