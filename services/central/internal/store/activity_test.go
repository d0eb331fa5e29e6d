package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

func (h *house) tell(t *testing.T, customer uuid.UUID, what *adminv1.StreamResponse) {
	t.Helper()
	must(t, h.Tell(t.Context(), customer, what))
	_, err := h.NumberActivity(t.Context(), 100)
	must(t, err)
}

// told are the subjects of what lies behind a number.
func subjects(all []*adminv1.StreamResponse) []string {
	out := []string{}
	for _, one := range all {
		out = append(out, one.GetSubject())
	}
	return out
}

func TestAReaderNeverMissesWhatCommitsLater(t *testing.T) {
	h := newHouse(t)
	const writers, each = 12, 25
	ctx, stop := context.WithCancel(t.Context())
	var writing, numbering sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for n := range each {
				err := h.InTx(ctx, func(tx *Store) error {
					if err := tx.Tell(ctx, h.customer, &adminv1.StreamResponse{Type: "stop", Subject: fmt.Sprint(w, "/", n)}); err != nil {
						return err
					}
					// Some transactions take long: their rows have small ids and become visible late.
					_, err := tx.db.Exec(ctx, "SELECT pg_sleep($1)", rand.Float64()*0.02)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 { // replicas
		numbering.Go(func() {
			for ctx.Err() == nil {
				if _, err := h.NumberActivity(ctx, 7); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[string]bool{}
	var last int64
	for deadline := time.Now().Add(time.Minute); len(seen) < writers*each; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d were read", len(seen), writers*each)
		}
		news, err := h.ActivityAfter(t.Context(), last, 10)
		must(t, err)
		for _, one := range news {
			if one.Message.GetSequence() != last+1 || seen[one.Message.GetSubject()] {
				t.Fatalf("%v after %d", one.Message, last)
			}
			last, seen[one.Message.GetSubject()] = one.Message.GetSequence(), true
		}
	}
	writing.Wait()
	stop()
	numbering.Wait()
}

func TestNewsStandsOrFallsWithWhatItTellsAbout(t *testing.T) {
	h := newHouse(t)
	var heard atomic.Int32
	h.OnTell(func() { heard.Add(1) })
	broken := errors.New("broken")
	err := h.InTx(t.Context(), func(tx *Store) error {
		must(t, tx.Tell(t.Context(), h.customer, &adminv1.StreamResponse{Type: "stop"}))
		return broken
	})
	if !errors.Is(err, broken) || heard.Load() != 0 || h.count(t, "SELECT count(*) FROM activity") != 0 {
		t.Fatalf("%v, heard %d times", err, heard.Load())
	}
	must(t, h.InTx(t.Context(), func(tx *Store) error {
		must(t, tx.Tell(t.Context(), h.customer, &adminv1.StreamResponse{Type: "stop"}))
		equal(t, "heard before the commit", heard.Load(), 0)
		return nil
	}))
	equal(t, "heard after the commit", heard.Load(), 1)
	must(t, h.Tell(t.Context(), h.customer, &adminv1.StreamResponse{Type: "stop"}))
	equal(t, "heard without a transaction", heard.Load(), 2)
	must(t, h.InTx(t.Context(), func(*Store) error { return nil }))
	equal(t, "heard of nothing", heard.Load(), 2)
}

func TestWhatWasToldIsReadAsItWas(t *testing.T) {
	h := newHouse(t)
	what := &adminv1.StreamResponse{
		Type: "spot_event", ClusterId: h.cluster.String(), OptimizationId: uuid.NewString(), Message: "m", Actor: "admin:1", Sequence: 99,
		Timestamp: timestamppb.Now(), SpotEvent: &fleetv1.SpotEvent{InstanceId: "i-1"},
	}
	h.tell(t, h.customer, what)
	got, _, err := h.ListActivity(t.Context(), Only{Customer: some(h.customer)}, Page{Limit: 10})
	must(t, err)
	what.Sequence, what.Severity = 1, "info"
	news, err := h.ActivityAfter(t.Context(), 0, 1)
	must(t, err)
	wire := &adminv1.StreamResponse{}
	must(t, proto.Unmarshal(news[0].Wire, wire))
	if diff := cmp.Diff(what, wire, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]*adminv1.StreamResponse{what}, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestTheSeverityOfNewsFollowsFromWhatHappened(t *testing.T) {
	event := func(done string) *adminv1.StreamResponse {
		return &adminv1.StreamResponse{Type: "spot_event", SpotEvent: &fleetv1.SpotEvent{ActionTaken: &done}}
	}
	for want, all := range map[string][]*adminv1.StreamResponse{
		"info": {
			{Type: "optimization_complete", Status: "success"}, {Type: "optimization_started"}, event("drained, replacement_launched"), event("at_risk"),
		},
		"warning": {
			{Type: "optimization_step", Status: "failed"}, {Type: "cluster", Status: "offline"}, event("drained_forced"), event("drain_blocked, terminated"),
		},
		"error": {{Type: "optimization_complete", Status: "failed"}, event("drain_failed"), event("drained, replacement_failed")},
	} {
		for _, what := range all {
			equal(t, what.String(), severity(what), want)
		}
	}
}

func TestAMissedStretchIsReadByWhoMaySeeIt(t *testing.T) {
	h := newHouse(t)
	rival, theirs := h.tenant(t, "rival")
	for _, one := range []struct {
		customer uuid.UUID
		what     *adminv1.StreamResponse
	}{
		{h.customer, &adminv1.StreamResponse{Type: "stop", Subject: "a", ClusterId: h.cluster.String()}},
		{rival, &adminv1.StreamResponse{Type: "stop", Subject: "theirs", ClusterId: theirs.String()}},
		{h.customer, &adminv1.StreamResponse{Type: "policy", Subject: "b"}},
		{uuid.Nil, &adminv1.StreamResponse{Type: "model", Subject: "staff"}},
		{h.customer, &adminv1.StreamResponse{Type: "stop", Subject: "c"}},
	} {
		h.tell(t, one.customer, one.what)
	}
	for name, c := range map[string]struct {
		only         Only
		after, until int64
		want         []string
	}{
		"a customer":            {Only{Customer: some(h.customer)}, 0, 5, []string{"a", "b", "c"}},
		"between two":           {Only{Customer: some(h.customer)}, 1, 4, []string{"b"}},
		"its cluster":           {Only{Customer: some(h.customer), Cluster: some(h.cluster)}, 0, 5, []string{"a"}},
		"another's cluster":     {Only{Customer: some(h.customer), Cluster: some(theirs)}, 0, 5, []string{}},
		"a type":                {Only{Customer: some(h.customer), Types: []string{"policy", "model"}}, 0, 5, []string{"b"}},
		"the staff":             {Only{}, 0, 5, []string{"a", "theirs", "b", "staff", "c"}},
		"the staff, by a type":  {Only{Types: []string{"model"}}, 0, 5, []string{"staff"}},
		"who has seen it all":   {Only{}, 5, 5, []string{}},
		"who has seen the half": {Only{}, 3, 5, []string{"staff", "c"}},
	} {
		got, err := h.ReplayActivity(t.Context(), c.only, c.after, c.until, 100)
		must(t, err)
		if diff := cmp.Diff(c.want, subjects(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		missed, err := h.MissedActivity(t.Context(), c.only, c.after, c.until, 100)
		must(t, err)
		equal(t, name+": missed", missed.Count, len(c.want))
	}
	h.exec(t, "UPDATE activity SET at = now() - interval '25 hours' WHERE sequence = 3")
	missed, err := h.MissedActivity(t.Context(), Only{Customer: some(h.customer)}, 2, 5, 1)
	must(t, err)
	if missed.Count != 1 || time.Since(missed.Since) < 24*time.Hour {
		t.Errorf("missed %+v", missed)
	}
}

func TestNewsIsWithheldFromWhoMayNotSeeItAnyMore(t *testing.T) {
	h := newHouse(t)
	rival, _ := h.tenant(t, "rival")
	h.tell(t, h.customer, &adminv1.StreamResponse{Type: "stop", ClusterId: h.cluster.String()})
	h.tell(t, h.customer, &adminv1.StreamResponse{Type: "policy"})
	withheld := func() []bool {
		news, err := h.ActivityAfter(t.Context(), 0, 10)
		must(t, err)
		return []bool{news[0].Withheld, news[1].Withheld}
	}
	listed := func() int {
		news, _, err := h.ListActivity(t.Context(), Only{Customer: some(h.customer)}, Page{Limit: 10})
		must(t, err)
		return len(news)
	}
	if got := withheld(); !slices.Equal(got, []bool{false, false}) || listed() != 2 {
		t.Fatalf("%v", got)
	}
	h.exec(t, "UPDATE clusters SET customer_id = $1, cluster_name = 'moved' WHERE cluster_id = $2", rival, h.cluster)
	if got := withheld(); !slices.Equal(got, []bool{true, false}) || listed() != 1 {
		t.Errorf("the cluster has moved: %v", got)
	}
	h.exec(t, "UPDATE customers SET status = 'suspended' WHERE customer_id = $1", h.customer)
	if got := withheld(); !slices.Equal(got, []bool{true, true}) {
		t.Errorf("the customer is suspended: %v", got)
	}
}

func TestActivityIsListedNewestFirstInPages(t *testing.T) {
	h := newHouse(t)
	story := uuid.New()
	for n := range 9 {
		what := &adminv1.StreamResponse{Type: []string{"stop", "policy", "spot_event"}[n%3], Severity: []string{"info", "warning", "error"}[n/3], Subject: fmt.Sprint(n)}
		if n%4 == 0 {
			what.OptimizationId = story.String()
		}
		h.tell(t, h.customer, what)
	}
	list := func(only Only, limit int) []string {
		got, page := []string{}, Page{Limit: limit}
		for {
			some, token, err := h.ListActivity(t.Context(), only, page)
			must(t, err)
			if len(some) > limit {
				t.Fatalf("%d on a page of %d", len(some), limit)
			}
			got = append(got, subjects(some)...)
			if token == "" {
				return got
			}
			page, err = NewPage(int32(limit), token, "")
			must(t, err)
		}
	}
	for name, c := range map[string]struct {
		only Only
		want []string
	}{
		"all":             {Only{}, []string{"8", "7", "6", "5", "4", "3", "2", "1", "0"}},
		"warnings":        {Only{Severity: "warning"}, []string{"8", "7", "6", "5", "4", "3"}},
		"errors":          {Only{Severity: "error"}, []string{"8", "7", "6"}},
		"a type":          {Only{Types: []string{"stop", "policy"}}, []string{"7", "6", "4", "3", "1", "0"}},
		"an optimization": {Only{Optimization: some(story)}, []string{"8", "4", "0"}},
		"nobody's":        {Only{Customer: some(uuid.New())}, []string{}},
	} {
		for _, limit := range []int{1, 2, 3, 9, 10} {
			if diff := cmp.Diff(c.want, list(c.only, limit)); diff != "" {
				t.Errorf("%s, %d a page: %s", name, limit, diff)
			}
		}
	}
}

func TestActivityIsKeptForThirtyDays(t *testing.T) {
	h := newHouse(t)
	for range 5 {
		h.tell(t, h.customer, &adminv1.StreamResponse{Type: "stop"})
	}
	h.exec(t, "UPDATE activity SET at = now() - interval '31 days' WHERE sequence <= 3")
	must(t, h.PruneActivity(t.Context()))
	newest, pruned, err := h.ActivityHead(t.Context())
	must(t, err)
	if n := h.count(t, "SELECT count(*) FROM activity"); n != 2 || newest != 5 || pruned != 3 {
		t.Errorf("%d rows, newest %d, pruned %d", n, newest, pruned)
	}
	h.exec(t, "UPDATE activity SET at = now() - interval '31 days'")
	must(t, h.PruneActivity(t.Context()))
	h.tell(t, h.customer, &adminv1.StreamResponse{Type: "stop"})
	news, err := h.ActivityAfter(t.Context(), 0, 10)
	must(t, err)
	if len(news) != 1 || news[0].Message.GetSequence() != 6 {
		t.Errorf("numbers begin anew when nothing is left: %v", news)
	}
}
