package lead

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// BulletinAnnotation holds the Bulletin's line on the lease.
const BulletinAnnotation = "cloudoptim.io/interruption-policy"

var errAbstains = errors.New("this agent's node may be going away; another may take the lease first")

// lock is the lease as client-go's elector wants it. client-go's own does not
// say when it was renewed, and knows no bulletin.
type lock struct {
	cfg Config

	mu    sync.Mutex
	lease *coordinationv1.Lease
	// renewed is when the last renewal that succeeded was sent, zero while
	// another holds the lease. Sent, not answered: the API server's fifteen
	// seconds may have begun as early as that.
	renewed time.Time
	epoch   int64
	free    time.Time // since when this agent leaves a free lease to others
	forced  bool
	rests   time.Time // until then it stands for want of others only: it gave the lease away
}

// held compares with and without the monotonic clock, which stands still while
// the machine sleeps, as the other one may be set.
func (l *lock) held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.renewed.IsZero() {
		return false
	}
	now := time.Now()
	return max(now.Sub(l.renewed), now.Round(0).Sub(l.renewed.Round(0))) < renewDeadline
}

func (l *lock) epochNow() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

func (l *lock) reluctant() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.forced
}

// rest makes this agent abstain for as long as others may need to notice that
// the lease is free.
func (l *lock) rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rests = time.Now().Add(leaseDuration)
}

func (l *lock) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = time.Time{}
}

// Get reads the lease, and on it what the leader has to say.
func (l *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	lease, err := l.cfg.Client.CoordinationV1().Leases(l.cfg.Namespace).Get(ctx, l.cfg.Name, metav1.GetOptions{})
	if err != nil {
		return nil, nil, err
	}
	record := resourcelock.LeaseSpecToLeaderElectionRecord(&lease.Spec)
	text, err := json.Marshal(record)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the lease: %w", err)
	}
	l.mu.Lock()
	l.lease = lease
	if record.HolderIdentity != l.cfg.Identity {
		l.renewed = time.Time{}
	}
	l.mu.Unlock()
	if line := lease.Annotations[BulletinAnnotation]; line != "" && record.HolderIdentity != l.cfg.Identity {
		l.cfg.Bulletin.Heard(line)
	}
	return record, text, nil
}

// Create makes the lease, ours.
func (l *lock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if err := l.mayTake(ctx); err != nil {
		return err
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: l.cfg.Namespace, Name: l.cfg.Name}}
	return l.write(lease, record, func(lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
		return l.cfg.Client.CoordinationV1().Leases(l.cfg.Namespace).Create(ctx, lease, metav1.CreateOptions{})
	})
}

// Update takes, renews or gives back the lease. It fails if somebody else
// changed it since it was read.
func (l *lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	l.mu.Lock()
	lease := l.lease
	l.mu.Unlock()
	if lease == nil {
		return errors.New("updating the lease: it was not read before")
	}
	if holder(lease) != l.cfg.Identity && record.HolderIdentity == l.cfg.Identity {
		if err := l.mayTake(ctx); err != nil {
			return err
		}
	}
	return l.write(lease.DeepCopy(), record, func(lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
		return l.cfg.Client.CoordinationV1().Leases(l.cfg.Namespace).Update(ctx, lease, metav1.UpdateOptions{})
	})
}

// mayTake lets an agent that abstains take the lease only after others had the
// time to: a cluster whose nodes all go away needs a leader more than any.
func (l *lock) mayTake(ctx context.Context) error {
	abstains := l.cfg.Abstains(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	abstains = abstains || now.Before(l.rests)
	switch {
	case !abstains:
		l.free, l.forced = time.Time{}, false
		return nil
	case l.free.IsZero() || now.Sub(l.free) > 2*leaseDuration: // that was another time
		l.free = now
		l.cfg.Log.Info("leaving the lease to another agent", "identity", l.cfg.Identity)
		return errAbstains
	case now.Sub(l.free) < mercy:
		return errAbstains
	}
	l.free, l.forced = time.Time{}, true
	l.cfg.Log.Warn("taking the lease, as nobody else does", "identity", l.cfg.Identity)
	return nil
}

func (l *lock) write(lease *coordinationv1.Lease, record resourcelock.LeaderElectionRecord,
	send func(*coordinationv1.Lease) (*coordinationv1.Lease, error),
) error {
	lease.Spec = resourcelock.LeaderElectionRecordToLeaseSpec(&record)
	if line := l.cfg.Bulletin.Said(); line != "" {
		metav1.SetMetaDataAnnotation(&lease.ObjectMeta, BulletinAnnotation, line)
	}
	if record.HolderIdentity != l.cfg.Identity {
		l.drop() // before it is free, not after
	}
	sent := time.Now()
	lease, err := send(lease)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lease = lease
	if holder(lease) == l.cfg.Identity {
		l.renewed, l.epoch = sent, int64(record.LeaderTransitions)+1
	}
	return nil
}

func holder(lease *coordinationv1.Lease) string {
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// RecordEvent does nothing: the log tells it, and events of the lease are a
// right more.
func (*lock) RecordEvent(string) {}

// Identity is who stands.
func (l *lock) Identity() string { return l.cfg.Identity }

// Describe names the lease.
func (l *lock) Describe() string { return l.cfg.Namespace + "/" + l.cfg.Name }
