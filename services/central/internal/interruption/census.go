package interruption

import (
	"context"
	"sync"
	"time"

	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud"
)

const (
	// gather is how long a question waits for others to be asked with it.
	gather = 15 * time.Millisecond
	// askEvery keeps the questions of one account below what EC2 allows everybody.
	askEvery = 100 * time.Millisecond
	askLimit = 100
	// Answers are kept: a burst names the same instance many times. That EC2 does
	// not know one may change soon, so it is not kept for long.
	knownFor, unknownFor = time.Minute, 10 * time.Second
	keptAnswers          = 50_000
	askWithin            = 10 * time.Second
)

// census asks EC2 about instances that no cluster has named, many with one call.
type census struct {
	cloud *cloud.Cloud

	mu      sync.Mutex
	answers map[asked]answer
	rounds  map[cloud.Account]*round
	next    map[cloud.Account]time.Time
}

type asked struct {
	account cloud.Account
	id      string
}

type answer struct {
	instance cloud.Instance
	known    bool
	until    time.Time
}

// round is a call that still takes ids.
type round struct {
	ids  map[string]bool
	done chan struct{}
	err  error
}

func newCensus(c *cloud.Cloud) *census {
	return &census{cloud: c, answers: map[asked]answer{}, rounds: map[cloud.Account]*round{}, next: map[cloud.Account]time.Time{}}
}

// look returns the instances that EC2 knows.
func (c *census) look(ctx context.Context, account cloud.Account, ids []string) (map[string]cloud.Instance, error) {
	for _, r := range c.join(account, ids) {
		select {
		case <-r.done:
			if r.err != nil {
				return nil, r.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]cloud.Instance{}
	for _, id := range ids {
		if a := c.answers[asked{account, id}]; a.known {
			out[id] = a.instance
		}
	}
	return out, nil
}

// join puts what is not known into the rounds that are about to be made.
func (c *census) join(account cloud.Account, ids []string) []*round {
	c.mu.Lock()
	defer c.mu.Unlock()
	var joined []*round
	now := time.Now()
	for _, id := range ids {
		if a, ok := c.answers[asked{account, id}]; ok && now.Before(a.until) {
			continue
		}
		r := c.rounds[account]
		if r == nil || len(r.ids) >= askLimit {
			r = c.begin(account, now)
		}
		r.ids[id] = true
		if len(joined) == 0 || joined[len(joined)-1] != r {
			joined = append(joined, r)
		}
	}
	return joined
}

// begin opens a round; it is made when its turn has come.
func (c *census) begin(account cloud.Account, now time.Time) *round {
	r := &round{ids: map[string]bool{}, done: make(chan struct{})}
	c.rounds[account] = r
	at := latest(now.Add(gather), c.next[account])
	c.next[account] = at.Add(askEvery)
	time.AfterFunc(at.Sub(now), func() { c.ask(account, r) })
	return r
}

func (c *census) ask(account cloud.Account, r *round) {
	c.mu.Lock()
	if c.rounds[account] == r {
		delete(c.rounds, account)
	}
	ids := make([]string, 0, len(r.ids))
	for id := range r.ids {
		ids = append(ids, id)
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	found, err := c.cloud.Describe(ctx, account, ids)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(r.done)
	if r.err = err; err != nil {
		return
	}
	now := time.Now()
	c.forget(now)
	for _, id := range ids {
		one, known := found[id]
		lasts := unknownFor
		if known {
			lasts = knownFor
		}
		c.answers[asked{account, id}] = answer{instance: one, known: known, until: now.Add(lasts)}
	}
}

// forget keeps the answers from filling the memory; those of a burst live a minute.
func (c *census) forget(now time.Time) {
	if len(c.answers) < keptAnswers {
		return
	}
	for key, a := range c.answers {
		if now.After(a.until) {
			delete(c.answers, key)
		}
	}
}
