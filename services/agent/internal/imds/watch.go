package imds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

const (
	// every is how often the service is asked; AWS advises five seconds.
	every = 2 * time.Second
	// A service that never answered is asked ever less, as a hop limit does not
	// change by itself. One that did answer comes back soon.
	mostUnknown = time.Minute
	mostKnown   = 4 * time.Second
)

// Reading is all that the service says of the instance.
type Reading struct {
	InstanceID string
	// BootID tells this boot of the machine from others.
	BootID string
	// Notices in the order in which they were first seen; node_name is empty.
	Notices []Notice
	// Complete is false when some item was never answered yet: a notice that is
	// not here may still be.
	Complete bool
}

// Notice is a notice and when, on this process' monotonic clock, it runs out.
type Notice struct {
	*fleetv1.NodeNotice
	// Until is zero when AWS names no time.
	Until time.Time
}

// Watcher asks the service again and again.
type Watcher struct {
	Client *Client
	// BootID is BootID().
	BootID string
	// Changed gets each reading that differs from the one before, and the first.
	Changed func(Reading)
	// Log gets a line for each change.
	Log *slog.Logger

	instance string
	seen     map[string][]Notice // by the item's path, once it was answered
	told     bool                // Changed knows what seen says
	failures int
	worked   bool
	broken   map[string]string // items that cannot be read, and why
}

// BootID is the kernel's id of this boot; a container sees its machine's.
func BootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the boot id: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	w.seen, w.broken = map[string][]Notice{}, map[string]string{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		err := w.poll(ctx)
		if ctx.Err() != nil {
			return nil
		}
		observe(ctx, err)
		timer.Reset(w.pause(err))
	}
}

// pause is the time to the next poll; failures make it longer.
func (w *Watcher) pause(err error) time.Duration {
	if err == nil {
		if w.failures > 0 || !w.worked {
			w.Log.Info("the instance metadata service answers", "instance_id", w.instance)
		}
		w.failures, w.worked = 0, true
		return every
	}
	if w.failures++; w.failures == 3 { // one or two are no news
		w.Log.Warn("the instance metadata service does not answer: this node's own interruption notice will not be seen. "+
			"In a pod it needs a hop limit of 2 (HttpPutResponseHopLimit) or hostNetwork", "error", err)
	}
	most := mostUnknown
	if w.worked {
		most = mostKnown
	}
	wait := min(every<<min(max(w.failures-2, 0), 6), most)
	return wait/2 + rand.N(wait/2+1)
}

// poll asks for everything once. What cannot be read stays as it was: only the
// service's own "there is none" withdraws a notice.
func (w *Watcher) poll(ctx context.Context) error {
	if w.instance == "" {
		id, err := w.Client.InstanceID(ctx)
		if err != nil {
			return err
		}
		w.instance = id
	}
	var failed error
	for _, item := range items {
		if failed = w.ask(ctx, item.path, item.read); failed != nil {
			break
		}
	}
	if !w.told && (failed == nil || len(w.seen) > 0) {
		w.told = true
		w.Changed(w.reading())
	}
	return failed
}

// ask reads one item. Only a service that does not answer is an error: an
// answer that makes no sense must not hide the other items.
func (w *Watcher) ask(ctx context.Context, path string, read func([]byte) ([]finding, error)) error {
	text, err := w.Client.get(ctx, path)
	var findings []finding
	var refused *statusError
	switch {
	case errors.Is(err, errNone):
	case errors.As(err, &refused):
		w.unreadable(path, err)
		return nil
	case err != nil:
		return err
	default:
		if findings, err = read(text); err != nil {
			w.unreadable(path, err)
			return nil
		}
	}
	delete(w.broken, path)
	w.note(path, findings)
	return nil
}

// unreadable is logged once for each text that is: a poll comes every two seconds.
func (w *Watcher) unreadable(path string, err error) {
	if w.broken[path] != err.Error() {
		w.broken[path] = err.Error()
		w.Log.Warn("an answer of the instance metadata service cannot be read", "path", path, "error", err)
	}
}

// note keeps what was found under a path. A notice keeps the time at which it
// was first seen, and the deadline it had then.
func (w *Watcher) note(path string, findings []finding) {
	before, answered := w.seen[path]
	changed := !answered
	old := map[string]Notice{}
	for _, n := range before {
		old[n.GetNoticeId()] = n
	}
	var now []Notice
	for _, f := range findings {
		id := w.id(f)
		n, known := old[id]
		if !known {
			n, changed = w.notice(id, f), true
			w.Log.Warn("AWS gives notice", "event_type", f.kind, "action", f.action, "instance_id", w.instance,
				"action_time", f.when(), "remaining_seconds", n.GetRemainingSeconds(), "notice_id", id)
		}
		delete(old, id)
		now = append(now, n)
	}
	for id, n := range old {
		changed = true
		w.Log.Info("AWS withdrew a notice", "event_type", n.GetEventType(), "instance_id", w.instance, "notice_id", id)
	}
	w.seen[path] = now
	w.told = w.told && !changed
}

// id names a notice by what it is about and not by its times, which mocks make
// anew for each answer: an instance is interrupted once a boot.
func (w *Watcher) id(f finding) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s", w.instance, w.BootID, f.kind, f.key))
	return f.kind + "-" + w.instance + "-" + hex.EncodeToString(sum[:8])
}

func (w *Watcher) notice(id string, f finding) Notice {
	now := time.Now()
	n := Notice{NodeNotice: &fleetv1.NodeNotice{
		NoticeId: id, EventType: f.kind, InstanceId: w.instance, Action: f.action, NoticedAt: timestamppb.New(now),
	}}
	if !f.at.IsZero() {
		n.ActionTime = timestamppb.New(f.at)
	}
	if left, known := Remaining(n.NodeNotice, w.Client.Now()); known {
		n.RemainingSeconds = left.Seconds()
		n.Until = now.Add(left)
	}
	return n
}

// when is the time of a finding for people.
func (f finding) when() string {
	if f.at.IsZero() {
		return "unknown"
	}
	return f.at.Format(time.RFC3339)
}

func (w *Watcher) reading() Reading {
	r := Reading{InstanceID: w.instance, BootID: w.BootID, Complete: len(w.seen) == len(items)}
	for _, item := range items {
		r.Notices = append(r.Notices, w.seen[item.path]...)
	}
	return r
}
