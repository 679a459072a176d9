package swarmsim

import (
	"container/heap"
	"time"
)

// clock runs events in the order of their times; those of the same time in the
// order in which they were set.
type clock struct {
	now   time.Duration
	queue queue
	spare []*event
	seq   uint64
	ran   int
}

type event struct {
	at  time.Duration
	seq uint64
	do  func(arg int)
	arg int
}

// at sets an event.
func (c *clock) at(t time.Duration, arg int, do func(arg int)) {
	var e *event
	if n := len(c.spare); n > 0 {
		e, c.spare = c.spare[n-1], c.spare[:n-1]
	} else {
		e = new(event)
	}
	c.seq++
	*e = event{at: max(t, c.now), seq: c.seq, do: do, arg: arg}
	heap.Push(&c.queue, e)
}

// after sets an event d from now.
func (c *clock) after(d time.Duration, do func(int)) { c.at(c.now+d, 0, do) }

// step runs the next event. It reports whether there was one.
func (c *clock) step() bool {
	if len(c.queue) == 0 {
		return false
	}
	e := heap.Pop(&c.queue).(*event)
	c.now = e.at
	c.ran++
	do, arg := e.do, e.arg
	e.do = nil
	c.spare = append(c.spare, e)
	do(arg)
	return true
}

// queue is a heap.Interface.
type queue []*event

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(e any)   { *q = append(*q, e.(*event)) }

func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}
