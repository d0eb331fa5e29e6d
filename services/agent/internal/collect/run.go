package collect

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
)

// Sequence is the last one that central acknowledged, 0 for none.
func (c *Collector) Sequence() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base
}

// Connected tells that a session is open; resync asks for everything anew.
func (c *Collector) Connected(resync bool) {
	c.signal(func(s *signals) { s.online, s.connected, s.resync = true, true, s.resync || resync })
}

// Disconnected tells that the session ended.
func (c *Collector) Disconnected() {
	c.signal(func(s *signals) { s.online = false })
}

// Resync asks for everything anew.
func (c *Collector) Resync(reason string) {
	c.cfg.Log.Info("central asks for the whole inventory", "reason", reason)
	c.signal(func(s *signals) { s.resync = true })
}

// Acked tells that central has everything up to a sequence.
func (c *Collector) Acked(sequence int64) {
	c.signal(func(s *signals) { s.acked = max(s.acked, sequence) })
}

// SetIntervals says how often to report; zero leaves an interval as it is.
func (c *Collector) SetIntervals(metrics, inventory time.Duration) {
	c.mu.Lock()
	if metrics > 0 {
		c.every.metrics = metrics
	}
	if inventory > 0 {
		c.every.inventory = inventory
	}
	c.mu.Unlock()
	c.kick()
}

func (c *Collector) signal(set func(*signals)) {
	c.mu.Lock()
	set(&c.said)
	c.mu.Unlock()
	c.kick()
}

func (c *Collector) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run reports until ctx ends. Call it after Start.
func (c *Collector) Run(ctx context.Context) error {
	var nextMetrics, nextInventory time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-timer.C:
		}
		said, every := c.look()
		now := time.Now()
		if said.connected {
			nextMetrics, nextInventory = now, now
		}
		// A session that ends while something is sent is no error: the next one
		// begins with what is missing.
		if err := c.inventoryStep(ctx, said, &nextInventory, every.inventory); err != nil && ctx.Err() == nil {
			c.cfg.Log.Debug("the session ended while the inventory was sent", "error", err)
		}
		if said.online && !now.Before(nextMetrics) {
			nextMetrics = now.Add(every.metrics)
			report := c.metrics(now)
			report.Usage = c.usage.take()
			c.cfg.Outbox.Metrics(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Metrics{Metrics: report}})
		}
		if said.online {
			timer.Reset(max(time.Millisecond, min(time.Until(nextMetrics), every.inventory)))
		}
	}
}

// look takes what the line said.
func (c *Collector) look() (signals, intervals) {
	c.mu.Lock()
	defer c.mu.Unlock()
	said := c.said
	c.said = signals{online: said.online}
	return said, c.every
}

// inventoryStep sends what central lacks: everything, or one delta at a time.
func (c *Collector) inventoryStep(ctx context.Context, said signals, next *time.Time, every time.Duration) error {
	stock := c.stock
	stock.acknowledged(said.acked)
	c.publishBase()
	now := time.Now()
	if said.resync {
		stock.forget()
		c.publishBase()
	}
	if !said.online {
		return nil
	}
	silent := stock.inFlight() && now.Sub(stock.sentAt) > ackPatience
	cut := said.connected && stock.snapshot != 0
	switch {
	case cut, silent, stock.acked == 0 && !stock.inFlight():
		err := stock.sendSnapshot(ctx, c.cfg.Outbox)
		c.publishBase()
		return errors.Join(err, c.sendEvents(ctx))
	case said.connected && stock.flight != nil:
		return stock.resend(ctx, c.cfg.Outbox)
	case stock.inFlight(), now.Before(*next):
		return nil
	}
	*next = now.Add(every)
	return errors.Join(stock.sendDelta(ctx, c.cfg.Outbox), c.sendEvents(ctx))
}

// publishBase lets the line say in its hello what central has. A snapshot on
// its way counts as nothing.
func (c *Collector) publishBase() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base = c.stock.acked
	if c.stock.snapshot != 0 {
		c.base = 0
	}
}

func timestamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

func compareNames(a, b string) int { return strings.Compare(a, b) }
