package queue

import "time"

// Observer hears what deliveries come to, for figures. It is called between a
// worker's statements, by several workers at once: it must not block.
type Observer interface {
	// Settled hears of a batch that its consumer is through with, with the time
	// since it was claimed.
	Settled(consumer string, verdicts []Verdict, took time.Duration)
	// Failed hears of a delivery that ended with an error; lost says that
	// another replica had the tasks by then.
	Failed(consumer string, tasks int, lost bool)
}

// Observe has o hear of all deliveries. It is called before the first of them.
func (q *Queue) Observe(o Observer) { q.observer = o }

// unobserved is the observer of a queue that has none.
type unobserved struct{}

func (unobserved) Settled(string, []Verdict, time.Duration) {}
func (unobserved) Failed(string, int, bool)                 {}
