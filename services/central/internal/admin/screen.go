package admin

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/activity"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// beatEvery is how often a dashboard hears that the line lives.
	beatEvery = 15 * time.Second
	// batch is how much of the news is taken at once.
	batch = 64
	// replays may run at once: each holds a page.
	replays = 32
	// What a reader may have missed and still gets: so many messages, so long ago.
	resumeAtMost = 10_000
	resumeWithin = 24 * time.Hour
	replayPage   = 100
)

// Reasons why a stream ends that are no faults of anybody's.
var (
	errDraining = errors.New("draining")
	errAge      = errors.New("age")
)

// Replayer reads what a dashboard missed.
type Replayer interface {
	ActivityHead(ctx context.Context) (newest, pruned int64, err error)
	MissedActivity(ctx context.Context, only store.Only, after, until int64, limit int) (store.Missed, error)
	ReplayActivity(ctx context.Context, only store.Only, after, until int64, limit int) ([]*adminv1.StreamResponse, error)
}

// screen is one open dashboard.
type screen struct {
	server *Server
	stream grpc.ServerStreamingServer[adminv1.StreamResponse]
	live   *bus.Subscription
	news   *activity.Reader
	// newest is the number up to which all was sent.
	newest int64
	only   store.Only
}

func (d *screen) recovered(ctx context.Context, show func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.server.Log.ErrorContext(ctx, "a stream panicked", "panic", p, "stack", string(debug.Stack()))
			err = fault.New(faultv1.Reason_REASON_INTERNAL, "internal error")
		}
	}()
	return show()
}

// show sends until the stream must end.
func (d *screen) show(ctx context.Context, after *int64) error {
	if err := d.stream.Send(d.own("heartbeat", "")); err != nil {
		return err
	}
	if after != nil {
		if err := d.replay(ctx, *after); err != nil {
			return d.end(ctx, err)
		}
	}
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	age, stop := d.server.age()
	defer stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-d.server.screens.closing:
			err = errDraining
		case <-age:
			err = errAge
		case <-d.news.C():
			err = d.next(ctx)
		case raw := <-d.live.C:
			err = d.pass(ctx, raw)
		case <-beat.C:
			err = d.send(ctx, d.own("heartbeat", ""))
		}
		if err != nil {
			return d.end(ctx, err)
		}
	}
}

// next sends what is new, until nothing is.
func (d *screen) next(ctx context.Context) error {
	for {
		news, upTo, err := d.news.Take(batch)
		if errors.Is(err, activity.ErrBroken) {
			d.newest = upTo
			return d.send(ctx, d.own("reset", "the numbers began anew: read the state again"))
		}
		if err != nil {
			return err
		}
		for _, one := range news {
			if one.Message.GetSequence() <= d.newest || !d.wants(one) {
				continue
			}
			if err := auth.Check(ctx); err != nil {
				return err
			}
			if err := d.stream.SendMsg(rpc.Encoded(one.Wire)); err != nil {
				return err
			}
			d.newest = one.Message.GetSequence()
		}
		d.newest = max(d.newest, upTo)
		if len(news) < batch {
			return nil
		}
		if err := d.ended(ctx); err != nil {
			return err
		}
	}
}

// ended says why the stream must not go on, though there is more to send.
func (d *screen) ended(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-d.server.screens.closing:
		return errDraining
	default:
		return nil
	}
}

// wants: it is for this dashboard, and still its to see.
func (d *screen) wants(one store.Told) bool {
	if d.only.Customer.Valid && (one.Withheld || one.Customer != d.only.Customer) {
		return false
	}
	return d.means(one.Message)
}

// means: its cluster and types were asked for.
func (d *screen) means(what *adminv1.StreamResponse) bool {
	if d.only.Cluster.Valid && what.GetClusterId() != d.only.Cluster.UUID.String() {
		return false
	}
	return len(d.only.Types) == 0 || slices.Contains(d.only.Types, what.GetType())
}

// pass sends on what came over the bus and is not kept.
func (d *screen) pass(ctx context.Context, raw []byte) error {
	what, err := bus.Dashboard(raw)
	if err != nil { // of a newer replica, perhaps
		d.server.Log.WarnContext(ctx, "a message on the bus cannot be read", "error", err)
		return nil
	}
	if !d.means(what) {
		return nil
	}
	return d.send(ctx, what)
}

// send sends a message, if the stream's key still allows.
func (d *screen) send(ctx context.Context, what *adminv1.StreamResponse) error {
	if err := auth.Check(ctx); err != nil {
		return err
	}
	return d.stream.Send(what)
}

// own is a message of the stream itself.
func (d *screen) own(kind, message string) *adminv1.StreamResponse {
	return &adminv1.StreamResponse{Type: kind, Message: message, Timestamp: timestamppb.Now(), Sequence: d.newest}
}

// replay sends what was told behind after and up to where live news begins, or a
// reset when that is too much.
func (d *screen) replay(ctx context.Context, after int64) error {
	until := d.newest
	select {
	case d.server.replays <- struct{}{}:
		defer func() { <-d.server.replays }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	source := d.server.Replays
	newest, pruned, err := source.ActivityHead(ctx)
	if err != nil {
		return err
	}
	if after > until && after <= newest { // it comes from a replica that has read further than this one
		d.newest = after
		return d.send(ctx, d.own("heartbeat", ""))
	}
	lost := after > until || after < pruned
	if !lost {
		missed, err := source.MissedActivity(ctx, d.only, after, until, resumeAtMost+1)
		if err != nil {
			return err
		}
		lost = missed.Count > resumeAtMost || time.Since(missed.Since) > resumeWithin
	}
	if lost {
		return d.send(ctx, d.own("reset", "messages are missing: read the state again"))
	}
	if err := d.resume(ctx, after, until); err != nil {
		return err
	}
	return d.send(ctx, d.own("heartbeat", "")) // all is there
}

func (d *screen) resume(ctx context.Context, after, until int64) error {
	for at := after; ; {
		page, err := d.server.Replays.ReplayActivity(ctx, d.only, at, until, replayPage)
		if err != nil {
			return err
		}
		for _, what := range page {
			if err := d.send(ctx, what); err != nil {
				return err
			}
			at = what.GetSequence()
		}
		if len(page) < replayPage {
			return nil
		}
		if err := d.ended(ctx); err != nil {
			return err
		}
	}
}

// end says why the stream ends, as its last message, and what the call ends with.
func (d *screen) end(ctx context.Context, why error) error {
	switch {
	case errors.Is(why, errAge):
		return d.bye("age", nil)
	case errors.Is(why, errDraining):
		return d.bye("draining", fault.Unavailable("central", nil))
	case errors.Is(why, activity.ErrSlow):
		return d.bye("slow_reader", tooSlow())
	}
	switch fault.ReasonOf(why) { //nolint:exhaustive // the rest is told by the call's end alone
	case faultv1.Reason_REASON_UNAUTHENTICATED, faultv1.Reason_REASON_PERMISSION_DENIED:
		return d.bye("signed_out", why)
	case faultv1.Reason_REASON_UNAVAILABLE:
		if ctx.Err() != nil { // the keys' end, which is central's
			return d.bye("draining", why)
		}
	}
	return why
}

func (d *screen) bye(reason string, why error) error {
	// Without a number: in the middle of a replay, not all before it was sent.
	last := &adminv1.StreamResponse{Type: "bye", Message: reason, Timestamp: timestamppb.Now()}
	if err := d.stream.Send(last); err != nil && why == nil {
		return fmt.Errorf("saying good-bye: %w", err)
	}
	return why
}

func tooSlow() error {
	return fault.New(faultv1.Reason_REASON_RATE_LIMITED, "slow reader: too many messages behind")
}
