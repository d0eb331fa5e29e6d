package interruption

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/listen"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// heard is a notice about an instance of a cluster.
type heard struct {
	notice.Notice
	owner store.Owner
	// ours: we end the instance ourselves.
	ours bool
	// task by which the agent drains the node already.
	task uuid.UUID
	// watched: the cluster is only looked at. stopped: a stop includes interruptions.
	watched, stopped bool
}

// Take takes in what a queue's messages say. When it returns, everything that was
// taken is committed: the events, the drain tasks and the jobs that replace.
func (s *Service) Take(ctx context.Context, queue listen.Queue, notices []notice.Notice) ([]listen.Verdict, error) {
	defer s.first.enter()()
	verdicts := make([]listen.Verdict, len(notices))
	scope := store.Scope{Customers: queue.Customers}
	owners, err := s.owners(ctx, scope, notices)
	if err != nil {
		return nil, err
	}
	var known []heard
	var at, unknown []int
	for i, n := range notices {
		if len(owners[n.InstanceID]) == 0 {
			unknown = append(unknown, i)
		}
		for _, owner := range owners[n.InstanceID] {
			known, at = append(known, heard{Notice: n, owner: owner}), append(at, i)
		}
	}
	// What is known does not wait until EC2 has told what the rest is.
	fresh, err := s.commit(ctx, known)
	if err != nil {
		return nil, err
	}
	judge(verdicts, at, fresh)
	if err := s.strangers(ctx, queue, notices, unknown, verdicts); err != nil {
		return nil, err
	}
	for i, n := range notices {
		s.count(ctx, n, verdicts[i])
	}
	return verdicts, nil
}

// judge says what became of the messages at these places: one that several
// clusters heard is new if it is to one of them.
func judge(verdicts []listen.Verdict, at []int, fresh []bool) {
	for _, i := range at {
		verdicts[i] = listen.Duplicate
	}
	for k, i := range at {
		if fresh[k] {
			verdicts[i] = listen.Taken
		}
	}
}

// owners of the instances, the live node of each cluster before what it was once.
func (s *Service) owners(ctx context.Context, scope store.Scope, notices []notice.Notice) (map[string][]store.Owner, error) {
	found, err := s.Store.Owners(ctx, scope, idsOf(notices))
	if err != nil {
		return nil, err
	}
	owners := map[string][]store.Owner{}
	for _, owner := range found {
		list := owners[owner.InstanceID]
		if at := slices.IndexFunc(list, func(o store.Owner) bool { return o.Cluster == owner.Cluster }); at >= 0 {
			list[at] = owner // the last one of a cluster counts
			continue
		}
		owners[owner.InstanceID] = append(list, owner)
	}
	return owners, nil
}

func idsOf(notices []notice.Notice) []string {
	ids := make([]string, 0, len(notices))
	for _, n := range notices {
		ids = append(ids, n.InstanceID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// commit writes all of it in one transaction, with what the dashboards are told, and then
// wakes the agents' streams. It returns which of the notices were new.
func (s *Service) commit(ctx context.Context, all []heard) ([]bool, error) {
	if len(all) == 0 {
		return nil, nil
	}
	ids, traced := make([]string, 0, len(all)), make([]context.Context, len(all))
	for i := range all {
		ids = append(ids, all[i].InstanceID)
		spanned, span := s.span(ctx, all[i].Traceparent, "interruption.take", all[i].InstanceID)
		defer span.End()
		traced[i] = spanned
	}
	ours, err := s.Store.EndedByUs(ctx, ids)
	if err != nil {
		return nil, err
	}
	var fresh []bool
	var changed, warned []*store.Interruption
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		fresh, changed, warned = nil, nil, nil // the transaction may be tried again
		holds, err := take(ctx, tx, clustersOf(all), ids)
		if err != nil {
			return err
		}
		for k, h := range all {
			h.watched, h.stopped = holds.watched[h.owner.Cluster], holds.stopped[h.owner.Cluster]
			// One whose group waits is let go by us, whoever ends it.
			h.ours = h.Hook == nil && slices.Contains(ours[h.owner.Cluster], h.InstanceID)
			isNew, i, err := s.hear(traced[k], tx, h)
			if err != nil {
				return err
			}
			fresh = append(fresh, isNew)
			if i != nil {
				changed = append(changed, i)
				if h.Type == notice.InterruptionWarning {
					warned = append(warned, i)
				}
			}
		}
		return tellAll(ctx, tx, changed, all)
	})
	if err != nil {
		return nil, err
	}
	s.announce(ctx, changed)
	s.avoid(ctx, warned)
	return fresh, nil
}

// take the instances in hand, and say what keeps the clusters' interruptions from being
// acted on.
func take(ctx context.Context, tx *store.Store, clusters []uuid.UUID, instances []string) (restraint, error) {
	// First of all: who has rows of instances locked, must not wait for a stop.
	if err := tx.BarStops(ctx); err != nil {
		return restraint{}, err
	}
	holds, err := restrained(ctx, tx, clusters...)
	if err != nil {
		return restraint{}, err
	}
	return holds, tx.LockInstances(ctx, instances)
}

// announce wakes the agents' streams, once each.
func (s *Service) announce(ctx context.Context, changed []*store.Interruption) {
	clusters := map[uuid.UUID]bool{}
	for _, i := range changed {
		clusters[i.Cluster] = true
	}
	for cluster := range clusters {
		s.Dispatch.Announce(ctx, cluster)
	}
}

// hear writes one notice down and does what follows from it. It returns the
// interruption if that has changed.
func (s *Service) hear(ctx context.Context, tx *store.Store, h heard) (bool, *store.Interruption, error) {
	p := s.press(h.Notice)
	i, err := tx.LatestInterruption(ctx, h.owner.Cluster, h.InstanceID)
	if err != nil {
		return false, nil, err
	}
	if !h.watched {
		i, err = s.lifeOf(ctx, tx, h, p, i)
	}
	if err != nil {
		return false, nil, err
	}
	if i == nil || h.watched {
		return s.record(ctx, tx, h, "recorded")
	}
	fresh, err := tx.AddSaid(ctx, said(h, i, words(i)))
	if err != nil || !i.Open() {
		return fresh, nil, err
	}
	changed, err := s.advance(ctx, tx, h, p, i)
	if err != nil || !changed {
		return fresh, nil, err
	}
	if fresh {
		err = s.audit(ctx, tx, i, h.owner.Customer, "interruption.heard", map[string]any{
			"type": h.Type, "state": h.State, "action": h.Action, "source": h.Source, "message_id": h.MessageID,
		})
	}
	return fresh, i, err
}

// lifeOf is the interruption that a notice belongs to: the newest one of the
// instance, unless that is over and the instance has come back; nil: none, and
// there is nothing to start one for.
func (s *Service) lifeOf(ctx context.Context, tx *store.Store, h heard, p pressure, newest *store.Interruption) (*store.Interruption, error) {
	nth := 0
	switch {
	case newest == nil && (h.ours || h.owner.Node == "" || h.owner.Gone):
		return nil, nil
	case newest != nil && !comesBack(h, p, newest):
		return newest, nil
	case newest != nil:
		nth = newest.Nth + 1
		if newest.Open() {
			newest.ClosedAt = time.Now()
			if err := tx.SaveInterruption(ctx, newest); err != nil {
				return nil, err
			}
		}
	}
	return tx.AddInterruption(ctx, &store.Interruption{
		Cluster: h.owner.Cluster, InstanceID: h.InstanceID, Nth: nth, Node: h.owner.Node, Region: orElse(h.owner.Region, h.Region),
		Zone: orElse(h.owner.Zone, h.Zone), InstanceType: h.owner.InstanceType, NodeType: h.owner.NodeType, Traceparent: traceparent(ctx),
	})
}

// comesBack tells whether a notice is about a new life of an instance that was
// stopped, or about one whose risk had been dismissed.
func comesBack(h heard, p pressure, newest *store.Interruption) bool {
	if h.owner.Gone || h.ours || p.urgency == over || slices.Contains(newest.Causes, "terminated") {
		return false
	}
	if newest.State == "dismissed" {
		return h.SaidAt.After(newest.ClosedAt)
	}
	return newest.State == "gone" && h.Source != notice.FromPoll && h.SaidAt.After(newest.GoneAt)
}

// advance makes the interruption know the notice and starts what it calls for.
func (s *Service) advance(ctx context.Context, tx *store.Store, h heard, p pressure, i *store.Interruption) (bool, error) {
	before := *i
	add(i, p, h.Notice)
	// While a stop includes interruptions, it is only remembered; catchUp does the rest.
	if !h.stopped {
		if err := s.wantReplacement(ctx, tx, h, i); err != nil {
			return false, err
		}
	}
	// A planned one is drained when its replacement is there; what we end is empty.
	if !h.ours && !h.stopped && i.Urgency > planned {
		if _, err := s.drain(ctx, tx, i, before.Urgency, h.task); err != nil {
			return false, err
		}
	}
	if same(&before, i) {
		return false, nil
	}
	i.Wake = true
	if err := tx.SaveInterruption(ctx, i); err != nil {
		return false, err
	}
	return true, tx.ActOn(ctx, i.ID, i.State, words(i), i.ReplacementInstance)
}

// wantReplacement decides, once, whether one is looked for.
func (s *Service) wantReplacement(ctx context.Context, tx *store.Store, h heard, i *store.Interruption) error {
	switch {
	case i.Replacement != "":
		return nil
	case h.ours:
		i.Replacement, i.ReplacementNote = "unneeded", "ended_by_optimization"
	case i.Urgency == group:
		i.Replacement, i.ReplacementNote = "unneeded", leftToGroup
	case i.Urgency > risk:
		i.Replacement = "pending"
		return s.queue.Enqueue(ctx, tx, replaceJob{InterruptionID: i.ID})
	}
	return nil
}

// same tells whether a notice has added nothing.
func same(a, b *store.Interruption) bool {
	return a.State == b.State && a.Urgency == b.Urgency && a.Deadline.Equal(b.Deadline) && a.Action == b.Action &&
		a.Replacement == b.Replacement && a.DrainTask == b.DrainTask && a.HookToken == b.HookToken && a.GoneAt.Equal(b.GoneAt) &&
		slices.Equal(a.Causes, b.Causes) && slices.Equal(a.Sources, b.Sources)
}

// record keeps what was said of an instance that nothing is done about.
func (s *Service) record(ctx context.Context, tx *store.Store, h heard, action string) (bool, *store.Interruption, error) {
	if h.ours {
		action = "ended_by_optimization"
	}
	fresh, err := tx.AddSaid(ctx, said(h, nil, action))
	if fresh {
		s.Log.InfoContext(ctx, "noted what was said of an instance; there is nothing to do", "instance_id", h.InstanceID,
			"cluster_id", h.owner.Cluster, "type", h.Type, "state", h.State, "action_taken", action, "node_gone", h.owner.Gone)
	}
	return fresh, nil, err
}

func said(h heard, i *store.Interruption, action string) store.Said {
	out := store.Said{
		Cluster: h.owner.Cluster, Key: key(h.Notice, i), InstanceID: h.InstanceID, Type: h.Type, Node: h.owner.Node,
		Region: orElse(h.Region, h.owner.Region), Zone: orElse(h.owner.Zone, h.Zone), Time: h.Deadline, Source: h.Source,
		MessageID: h.MessageID, Action: action, AWSState: h.State, Detail: h.Detail,
	}
	if i != nil {
		out.Interruption, out.State = uuid.NullUUID{UUID: i.ID, Valid: true}, i.State
	}
	return out
}

// maxKey is what the column takes.
const maxKey = 200

// key is the same for what was said by several ways in one life of an instance.
// A warning has no id that all ways know, but there is one for each action.
func key(n notice.Notice, i *store.Interruption) string {
	k := n.Key
	switch n.Type {
	case notice.InterruptionWarning, notice.CapacityReservation:
		k = n.Type + "/" + n.InstanceID + "/" + n.Action
	case notice.InstanceTerminated:
		k = n.Type + "/" + n.InstanceID + "/" + n.State
	case notice.Rebalance:
		k = n.Type + "/" + n.InstanceID + "/" + n.SaidAt.UTC().Format(time.DateOnly)
	}
	if i != nil {
		k += "/" + i.ID.String()
	}
	if len(k) <= maxKey {
		return k
	}
	sum := sha256.Sum256([]byte(k))
	return n.Type + "/" + n.InstanceID + "/" + hex.EncodeToString(sum[:])
}

func (s *Service) count(ctx context.Context, n notice.Notice, v listen.Verdict) {
	s.notices.Add(ctx, 1, metric.WithAttributes(attribute.String("source", n.Source), attribute.String("type", n.Type),
		attribute.String("verdict", v.String())))
}

// span hangs what is done into the trace of what was said first.
func (s *Service) span(ctx context.Context, parent, name, instance string) (context.Context, trace.Span) {
	if parent != "" {
		ctx = otel.GetTextMapPropagator().Extract(ctx, propagation.MapCarrier{"traceparent": parent})
	}
	return otel.Tracer("cloudoptim/interruption").Start(ctx, name, trace.WithAttributes(attribute.String("cloudoptim.instance_id", instance)))
}

func traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	return carrier.Get("traceparent")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
