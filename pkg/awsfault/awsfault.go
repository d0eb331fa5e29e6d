// Package awsfault spoils conversations with AWS on purpose, for tests.
package awsfault

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Fault is one way in which AWS, or the way to it, fails.
type Fault string

const (
	// Duplicate delivers received messages again, at once and later.
	Duplicate Fault = "duplicate"
	// Reorder shuffles received messages and keeps some for later answers.
	Reorder Fault = "reorder"
	// Delay keeps a request waiting for the rule's Delay.
	Delay Fault = "delay"
	// Throttle refuses a request as one too many.
	Throttle Fault = "throttle"
	// AccessDenied refuses a request.
	AccessDenied Fault = "access_denied"
	// QueueGone says that the queue does not exist.
	QueueGone Fault = "queue_gone"
	// StaleReceipt refuses to delete messages, each on its own.
	StaleReceipt Fault = "stale_receipt"
	// LostResponse has the request performed, and breaks the connection then.
	LostResponse Fault = "lost_response"
	// NoCapacity has EC2 out of instances of a pool.
	NoCapacity Fault = "no_capacity"
)

var faults = []Fault{Duplicate, Reorder, Delay, Throttle, AccessDenied, QueueGone, StaleReceipt, LostResponse, NoCapacity}

// Rule is when a fault happens. What is left empty restricts nothing.
type Rule struct {
	Fault Fault `json:"fault"`
	// Action is AWS's name of the call, e.g. ReceiveMessage.
	Action string `json:"action,omitempty"`
	// Queue is the end of a queue's URL.
	Queue string `json:"queue,omitempty"`
	// Pool is of instances: TYPE/PLACE/MARKET, the place a subnet or a zone, the
	// market spot or on-demand, each of them or the rest of them *.
	Pool string `json:"pool,omitempty"`
	// Rate is the share of cases, 0 for each.
	Rate float64 `json:"rate,omitempty"`
	// Times is how often at most, 0 for always.
	Times int `json:"times,omitempty"`
	// Delay is how long, in nanoseconds as JSON has it.
	Delay time.Duration `json:"delay,omitempty"`
}

// Rules are the faults of the moment. They may be changed while requests are made.
type Rules struct {
	mu     sync.Mutex
	random *rand.Rand
	rules  []*live
	counts map[Fault]int
	// later are messages for later answers, by queue URL.
	later map[string][]any
}

type live struct {
	Rule
	done int
}

// New makes rules whose chances follow from the seed.
func New(seed uint64, rules ...Rule) *Rules {
	r := &Rules{random: rand.New(rand.NewPCG(seed, seed)), counts: map[Fault]int{}, later: map[string][]any{}}
	r.Set(rules...)
	return r
}

// Set replaces all rules; none at all is an AWS without faults. Messages that
// were kept for later are still delivered.
func (r *Rules) Set(rules ...Rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules = nil
	for _, rule := range rules {
		r.rules = append(r.rules, &live{Rule: rule})
	}
}

// Get are the rules of the moment.
func (r *Rules) Get() []Rule {
	r.mu.Lock()
	defer r.mu.Unlock()
	rules := []Rule{}
	for _, rule := range r.rules {
		rules = append(rules, rule.Rule)
	}
	return rules
}

// Counts is how often each fault has happened.
func (r *Rules) Counts() map[Fault]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}

// strikes says whether a fault happens to a call, and by which rule.
func (r *Rules) strikes(fault Fault, c *call) (Rule, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rule := range r.rules {
		if rule.Fault != fault || !rule.meets(c) || rule.Times > 0 && rule.done >= rule.Times {
			continue
		}
		if rule.Rate > 0 && r.random.Float64() >= rule.Rate {
			continue
		}
		rule.done++
		r.counts[fault]++
		return rule.Rule, true
	}
	return Rule{}, false
}

// keep puts messages aside for a later answer of their queue.
func (r *Rules) keep(queue string, message any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.later[queue] = append(r.later[queue], message)
}

// kept takes up to n of them back.
func (r *Rules) kept(queue string, n int) []any {
	r.mu.Lock()
	defer r.mu.Unlock()
	n = min(n, len(r.later[queue]))
	out := slices.Clone(r.later[queue][:n])
	r.later[queue] = r.later[queue][n:]
	return out
}

func (r *Rules) waiting(queue string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.later[queue]) > 0
}

func (r *Rules) shuffle(messages []any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.random.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
}
