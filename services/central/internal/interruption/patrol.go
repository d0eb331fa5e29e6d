package interruption

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// patrol asks EC2 now and then what no event has told: events are best effort.
func (s *Service) patrol(ctx context.Context) {
	if s.Policy.PollEvery <= 0 {
		return
	}
	tick := time.NewTicker(max(s.Policy.PollEvery/5, 100*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.patrolOnce(ctx); err != nil && ctx.Err() == nil {
				s.Log.WarnContext(ctx, "asking EC2 for missed interruptions", "error", err)
			}
		}
	}
}

// patrolOnce makes the round, if it is due and no other replica makes it.
func (s *Service) patrolOnce(ctx context.Context) error {
	mine, err := s.Store.TakeTurn(ctx, "interruption-poll", s.Policy.PollEvery)
	if err != nil || !mine {
		return err
	}
	return s.poll(ctx)
}

// beat is the part of a round that one account in one region has.
type beat struct {
	account  cloud.Account
	clusters map[string]uuid.UUID // by instance
	ids      []string
}

// poll asks about all live nodes.
func (s *Service) poll(ctx context.Context) error {
	watched, err := s.Store.WatchedInstances(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, b := range beats(watched) {
		if err := s.pollOne(ctx, b); err != nil {
			if ctx.Err() != nil {
				return err
			}
			failed = err
			// Told to come back later, the account is left alone until the next round;
			// the others do not wait for it.
			s.Log.WarnContext(ctx, "polling an account", "region", b.account.Region, "instances", len(b.ids),
				"throttled", cloud.Throttled(err), "error", err)
		}
	}
	if failed != nil {
		return fmt.Errorf("polling EC2, the last trouble: %w", failed)
	}
	return nil
}

func beats(watched []store.Watched) []*beat {
	var out []*beat
	at := map[cloud.Account]*beat{}
	for _, w := range watched {
		account := cloud.Account{Region: w.Region, RoleARN: w.RoleARN, ExternalID: w.ExternalID}
		b := at[account]
		if b == nil {
			b = &beat{account: account, clusters: map[string]uuid.UUID{}}
			at[account], out = b, append(out, b)
		}
		if _, twice := b.clusters[w.InstanceID]; !twice {
			b.ids = append(b.ids, w.InstanceID)
		}
		b.clusters[w.InstanceID] = w.Cluster
	}
	return out
}

func (s *Service) pollOne(ctx context.Context, b *beat) error {
	statuses, err := s.Cloud.Statuses(ctx, b.account, b.ids)
	if err != nil {
		return err
	}
	now := time.Now()
	var found []notice.Notice
	for _, one := range statuses {
		found = append(found, noticesOf(one, b.account.Region, now)...)
	}
	marks, err := s.Cloud.Marks(ctx, b.account)
	if err != nil { // what the statuses have told counts all the same
		s.Log.WarnContext(ctx, "reading spot requests", "region", b.account.Region, "error", err)
	}
	for _, m := range marks {
		found = append(found, markNotice(m, b.account.Region))
	}
	byCluster := map[uuid.UUID][]notice.Notice{}
	for _, n := range found {
		if cluster, ours := b.clusters[n.InstanceID]; ours {
			byCluster[cluster] = append(byCluster[cluster], n)
		}
	}
	for cluster, notices := range byCluster {
		if err := s.takeFor(ctx, cluster, notices); err != nil {
			return err
		}
	}
	return nil
}

// noticesOf is what a status means, if it is not well.
func noticesOf(one cloud.Status, region string, now time.Time) []notice.Notice {
	var out []notice.Notice
	switch one.State {
	case "shutting-down", "terminated", "stopping", "stopped":
		out = append(out, notice.Notice{
			Key: "poll/" + one.InstanceID + "/" + one.State, Type: notice.InstanceTerminated, InstanceID: one.InstanceID, Region: region,
			Zone: one.Zone, State: one.State, SaidAt: now, Source: notice.FromPoll, Detail: map[string]any{"unknown_to_ec2": one.Unknown},
		})
	}
	for _, event := range one.Events {
		out = append(out, notice.Notice{
			Key:  fmt.Sprintf("status/%s/%s/%s", event.ID, one.InstanceID, event.NotBefore.UTC().Format(time.RFC3339)),
			Type: notice.ScheduledChange, InstanceID: one.InstanceID, Region: region, Zone: one.Zone, SaidAt: now,
			Deadline: event.NotBefore, Source: notice.FromPoll, Detail: map[string]any{"code": event.Code, "event": event.ID},
		})
	}
	return out
}

func markNotice(m cloud.Marked, region string) notice.Notice {
	n := notice.Notice{
		Key: "poll/" + m.InstanceID + "/" + m.Action, Type: notice.InterruptionWarning, InstanceID: m.InstanceID, Region: region,
		Action: m.Action, SaidAt: m.At, Source: notice.FromPoll,
	}
	if !m.At.IsZero() && m.Action != "hibernate" {
		n.Deadline = m.At.Add(notice.Lead)
	}
	return n
}

// takeFor takes in what was said of nodes of one cluster.
func (s *Service) takeFor(ctx context.Context, cluster uuid.UUID, notices []notice.Notice) error {
	owners, err := s.owners(ctx, store.Scope{Cluster: uuid.NullUUID{UUID: cluster, Valid: true}}, notices)
	if err != nil {
		return err
	}
	const batch = 50
	var all []heard
	for _, n := range notices {
		for _, owner := range owners[n.InstanceID] {
			all = append(all, heard{Notice: n, owner: owner})
		}
	}
	for len(all) > 0 {
		some := all[:min(len(all), batch)]
		all = all[len(some):]
		if err := s.commitCounted(ctx, some); err != nil {
			return err
		}
	}
	return nil
}
