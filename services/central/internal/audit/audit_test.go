package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

type house struct {
	*store.Store
	db     *pgtest.DB
	sealer Sealer
}

func newHouse(t *testing.T) *house {
	t.Helper()
	t.Parallel()
	db := pgtest.New(t)
	h := &house{Store: store.New(db.Pool), db: db}
	h.sealer = Sealer{Store: h.Store, Log: slog.New(slog.DiscardHandler)}
	return h
}

var (
	customer = uuid.NullUUID{UUID: uuid.UUID{1}, Valid: true}
	cluster  = uuid.NullUUID{UUID: uuid.UUID{2}, Valid: true}
)

func act(n int) store.Act {
	return store.Act{
		Actor: "member:a@example.com", Action: "policy.set", Subject: fmt.Sprint("subject ", n), Customer: customer, Cluster: cluster,
		Detail: map[string]any{"n": n, "share": 0.1, "huge": 1e300, "text": "<ü\u2028&>", "list": []any{nil, true, map[string]any{"b": 1, "a": 2}}},
	}
}

// write writes n entries and seals them.
func (h *house) write(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		must(t, h.Audit(t.Context(), act(i)))
	}
	must(t, h.sealer.Seal(t.Context()))
}

func (h *house) verify(t *testing.T, known string) *adminv1.VerifyAuditResponse {
	t.Helper()
	got, err := Verify(t.Context(), h.Store, known)
	must(t, err)
	return got
}

// tamper runs SQL as the superuser, with every trigger and foreign key out of force.
func (h *house) tamper(t *testing.T, sql string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.db.AdminDSN)
	must(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "SET session_replication_role = replica")
	must(t, err)
	tag, err := conn.Exec(t.Context(), sql, args...)
	must(t, err)
	if tag.RowsAffected() == 0 {
		t.Fatalf("%s changed nothing", sql)
	}
}

func TestALogThatNobodyTouchedIsIntact(t *testing.T) {
	h := newHouse(t)
	want := &adminv1.VerifyAuditResponse{Intact: true}
	if got := h.verify(t, ""); got.GetIntact() != want.GetIntact() || got.GetEntries() != 0 || got.GetHead() != "" {
		t.Fatalf("an empty log: %v", got)
	}
	h.write(t, 1200) // more than a batch of either
	got := h.verify(t, "")
	if !got.GetIntact() || got.GetEntries() != 1200 || got.GetUnsealed() != 0 || len(got.GetHead()) != 64 {
		t.Fatalf("got %v", got)
	}
	must(t, h.Audit(t.Context(), act(0)))
	later := h.verify(t, got.GetHead())
	if !later.GetIntact() || later.GetUnsealed() != 1 || later.GetHead() != got.GetHead() {
		t.Fatalf("with an entry that is not sealed yet: %v", later)
	}
	h.write(t, 3)
	if last := h.verify(t, got.GetHead()); !last.GetIntact() || last.GetEntries() != 1204 {
		t.Fatalf("a head of before: %v", last)
	}
	entries, next, err := h.AuditEntries(t.Context(), store.AuditFilter{}, store.Page{Limit: 1})
	must(t, err)
	if entries[0].GetSequence() != 1204 || entries[0].GetHash() != h.verify(t, "").GetHead() || next == "" {
		t.Errorf("the newest is %v", entries[0])
	}
}

func TestWhateverIsTamperedWithIsFound(t *testing.T) {
	type tampering struct {
		name, sql string
		args      []any
		at        int64
		problem   string
	}
	cases := []tampering{
		{name: "an entry deleted in the middle", sql: "DELETE FROM audit_log WHERE audit_id = 5", at: 5, problem: "deleted"},
		{name: "an entry and its seal deleted in the middle", sql: "WITH s AS (DELETE FROM audit_seals WHERE audit_id = 5) DELETE FROM audit_log WHERE audit_id = 5", at: 5, problem: "missing"},
		{name: "the first deleted", sql: "WITH s AS (DELETE FROM audit_seals WHERE audit_id = 1) DELETE FROM audit_log WHERE audit_id = 1", at: 1, problem: "missing"},
		{name: "the end cut off", sql: "WITH s AS (DELETE FROM audit_seals WHERE audit_id > 8) DELETE FROM audit_log WHERE audit_id > 8", at: 9, problem: "cut off"},
		{name: "all of it deleted", sql: "WITH s AS (DELETE FROM audit_seals) DELETE FROM audit_log", at: 1, problem: "cut off"},
		{name: "an entry put in past the log", sql: "INSERT INTO audit_log (actor, action) VALUES ('nobody', 'nothing')", at: 11, problem: "put in"},
		{
			name: "an entry put in with a seal of its own",
			sql:  "WITH e AS (INSERT INTO audit_log (actor, action) VALUES ('nobody', 'nothing') RETURNING audit_id) INSERT INTO audit_seals SELECT 11, audit_id, 1, sha256('x') FROM e",
			at:   11, problem: "does not fit",
		},
		{name: "two entries swapped", sql: "UPDATE audit_seals SET audit_id = CASE audit_id WHEN 4 THEN -7 ELSE -4 END WHERE audit_id IN (4, 7)", at: 4},
		{name: "two seals swapped", sql: "UPDATE audit_seals s SET hash = o.hash FROM audit_seals o WHERE s.sequence IN (4, 7) AND o.sequence = 11 - s.sequence", at: 4, problem: "does not fit"},
		{name: "a seal edited", sql: "UPDATE audit_seals SET hash = sha256('x') WHERE sequence = 6", at: 6, problem: "does not fit"},
		{name: "a seal moved", sql: "UPDATE audit_seals SET sequence = 20 WHERE sequence = 6", at: 6, problem: "missing"},
		{name: "all seals deleted", sql: "DELETE FROM audit_seals", at: 1, problem: "cut off"},
	}
	for column, value := range map[string]string{
		"at": "at + interval '1 microsecond'", "actor": "'somebody'", "action": "'policy.get'", "customer_id": "NULL", "cluster_id": "customer_id",
		"subject": "''", "detail": "detail || '{\"n\": 7}'", "request_id": "'req-1'",
	} {
		cases = append(cases, tampering{
			name: "the field " + column, sql: "UPDATE audit_log SET " + column + " = " + value + " WHERE audit_id = 3", at: 3, problem: "does not fit",
		})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			h.write(t, 10)
			head := h.verify(t, "").GetHead()
			h.tamper(t, c.sql, c.args...)
			got := h.verify(t, head)
			if got.GetIntact() || got.GetBrokenAt() != c.at || !strings.Contains(got.GetProblem(), c.problem) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestATextThatMovesFromOneFieldToTheNextIsFound(t *testing.T) {
	h := newHouse(t)
	must(t, h.Audit(t.Context(), store.Act{Actor: "ab", Action: "c"}))
	h.write(t, 1)
	h.tamper(t, "UPDATE audit_log SET actor = 'a', action = 'bc' WHERE audit_id = 1")
	if got := h.verify(t, ""); got.GetIntact() || got.GetBrokenAt() != 1 {
		t.Errorf("got %v", got)
	}
}

func TestAnEntryDeletedBeforeItWasSealedIsFound(t *testing.T) {
	h := newHouse(t)
	h.write(t, 2)
	must(t, h.Audit(t.Context(), act(3)))
	h.tamper(t, "DELETE FROM audit_log WHERE audit_id = 3")
	must(t, h.sealer.Seal(t.Context()))
	if got := h.verify(t, ""); got.GetIntact() || got.GetBrokenAt() != 3 || !strings.Contains(got.GetProblem(), "before it was sealed") {
		t.Errorf("got %v", got)
	}
}

// reseal makes the chain anew from a position on, as somebody would who knows how; wrong spoils its start.
func (h *house) reseal(t *testing.T, from int64, wrong bool) {
	t.Helper()
	var before store.Seal
	seals := map[int64]string{}
	_, err := h.WalkSeals(t.Context(), func(seal store.Seal, e *store.Entry) (bool, error) {
		if seal.Sequence >= from {
			if wrong && seal.Sequence == from {
				sum := sha256.Sum256(before.Hash)
				before.Hash = sum[:]
			}
			made, err := next(before, e)
			if err != nil {
				return false, err
			}
			seal, seals[seal.Sequence] = made, hex.EncodeToString(made.Hash)
		}
		before = seal
		return true, nil
	})
	must(t, err)
	for sequence, hash := range seals {
		h.tamper(t, "UPDATE audit_seals SET hash = decode($2, 'hex') WHERE sequence = $1", sequence, hash)
	}
}

func TestATailThatIsSealedAnewIsFoundByItsStartOrByAHeadNotedBefore(t *testing.T) {
	h := newHouse(t)
	h.write(t, 10)
	head := h.verify(t, "").GetHead()
	h.tamper(t, "UPDATE audit_log SET actor = 'somebody' WHERE audit_id = 5")
	h.reseal(t, 5, true)
	if got := h.verify(t, ""); got.GetIntact() || got.GetBrokenAt() != 5 {
		t.Errorf("with a wrong start: %v", got)
	}
	h.reseal(t, 5, false)
	if got := h.verify(t, ""); !got.GetIntact() { // a chain alone cannot tell: that is what noting the head is for
		t.Errorf("made anew in full, without a head: %v", got)
	}
	if got := h.verify(t, head); got.GetIntact() || got.GetBrokenAt() != 11 {
		t.Errorf("made anew in full: %v", got)
	}
}

func TestALongTransactionHoldsUpNobody(t *testing.T) {
	h := newHouse(t)
	begun, commit, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- h.InTx(context.WithoutCancel(t.Context()), func(tx *store.Store) error {
			err := tx.Audit(context.WithoutCancel(t.Context()), act(1)) // has the lowest id, and is visible last
			close(begun)
			<-commit
			return err
		})
	}()
	<-begun
	h.write(t, 3)
	if got := h.verify(t, ""); !got.GetIntact() || got.GetEntries() != 3 || got.GetUnsealed() != 0 {
		t.Errorf("while it runs: %v", got)
	}
	close(commit)
	must(t, <-done)
	must(t, h.sealer.Seal(t.Context()))
	if got := h.verify(t, ""); !got.GetIntact() || got.GetEntries() != 4 {
		t.Errorf("when it has ended: %v", got)
	}
	entries, _, err := h.AuditEntries(t.Context(), store.AuditFilter{}, store.Page{Limit: 10})
	must(t, err)
	late := 0
	for _, e := range entries {
		if e.GetSubject() == "subject 1" && e.GetSequence() == 4 {
			late++
		}
	}
	if late != 1 {
		t.Errorf("the late one is not the last of the chain: %v", entries)
	}
}

func TestManyWritersAndSealersMakeOneChainWithoutGaps(t *testing.T) {
	h := newHouse(t)
	ctx, stop := context.WithCancel(t.Context())
	var sealers sync.WaitGroup
	for range 3 {
		sealers.Add(1)
		go func() {
			defer sealers.Done()
			for ctx.Err() == nil {
				if err := h.sealer.Seal(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		}()
	}
	broken := errors.New("broken")
	var writers errgroup.Group
	for w := range 6 {
		writers.Go(func() error {
			for i := range 40 {
				err := h.InTx(t.Context(), func(tx *store.Store) error {
					if err := tx.Audit(t.Context(), act(w*100+i)); err != nil {
						return err
					}
					if i%4 == 3 { // its id is used up, and never seen
						return broken
					}
					return nil
				})
				if err != nil && !errors.Is(err, broken) {
					return err
				}
			}
			return nil
		})
	}
	must(t, writers.Wait())
	stop()
	sealers.Wait()
	// One that was stopped in the middle may hold the lock until the server notices.
	for deadline := time.Now().Add(10 * time.Second); h.verify(t, "").GetUnsealed() > 0 && time.Now().Before(deadline); {
		must(t, h.sealer.Seal(t.Context()))
	}
	if got := h.verify(t, ""); !got.GetIntact() || got.GetEntries() != 180 || got.GetUnsealed() != 0 {
		t.Errorf("got %v", got)
	}
}

func TestASealerThatDiesInTheMiddleLeavesNothingHalfDone(t *testing.T) {
	h := newHouse(t)
	for i := range 5 {
		must(t, h.Audit(t.Context(), act(i)))
	}
	died := errors.New("died")
	seen := 0
	_, err := h.SealNext(t.Context(), 10, func(before store.Seal, e *store.Entry) (store.Seal, error) {
		if seen++; seen == 3 {
			return store.Seal{}, died
		}
		return next(before, e)
	})
	if !errors.Is(err, died) {
		t.Fatal(err)
	}
	h.write(t, 1)
	if got := h.verify(t, ""); !got.GetIntact() || got.GetEntries() != 6 {
		t.Errorf("got %v", got)
	}
}

func TestSealsCannotBeTouchedWithoutASuperuser(t *testing.T) {
	h := newHouse(t)
	h.write(t, 2)
	for _, sql := range []string{
		"UPDATE audit_seals SET hash = sha256('x')", "DELETE FROM audit_seals", "TRUNCATE audit_seals", "DELETE FROM audit_log",
		"INSERT INTO audit_seals VALUES (1, 2, 1, sha256('x'))",
	} {
		if _, err := h.db.Pool.Exec(t.Context(), sql); err == nil {
			t.Errorf("%s went through", sql)
		}
	}
}

func TestRunSealsWithinASecond(t *testing.T) {
	h := newHouse(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.sealer.Run(ctx) }()
	must(t, h.Audit(t.Context(), act(1)))
	deadline := time.Now().Add(10 * time.Second)
	for h.verify(t, "").GetEntries() == 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	must(t, <-done)
	if got := h.verify(t, ""); got.GetEntries() != 1 {
		t.Errorf("got %v", got)
	}
}

// The encoding is for ever: what is sealed must be found intact by every later version.
func TestTheHashOfAnEntryNeverChanges(t *testing.T) {
	seal, err := next(store.Seal{}, &store.Entry{
		ID: 7, At: time.Date(2026, 11, 28, 17, 0, 0, 123456000, time.FixedZone("", 3600)), Actor: "member:a@example.com", Action: "policy.set",
		Subject: "s", RequestID: "req-1", Customer: customer, Detail: []byte(`{"b": [1.50, "<ü&>", null], "a": {"d": 1, "c": true}}`),
	})
	must(t, err)
	same, err := next(store.Seal{}, &store.Entry{
		ID: 7, At: time.Date(2026, 11, 28, 16, 0, 0, 123456000, time.UTC), Actor: "member:a@example.com", Action: "policy.set",
		Subject: "s", RequestID: "req-1", Customer: customer, Detail: []byte(`{"a":{"c":true,"d":1},"b":[1.50,"<ü&>",null]}`),
	})
	must(t, err)
	if diff := cmp.Diff(hex.EncodeToString(seal.Hash), hex.EncodeToString(same.Hash)); diff != "" {
		t.Errorf("how the detail is printed matters: %s", diff)
	}
	if diff := cmp.Diff("fcf6b1d676f861671a5399851bd2f793237273508a5334046e98f7a807dc77ec", hex.EncodeToString(seal.Hash)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatWasWrittenBeforeSealingWasThereIsSealed(t *testing.T) {
	h := newHouse(t)
	h.tamper(t, "INSERT INTO audit_log (actor, action) SELECT 'old', 'act' FROM generate_series(1, 3)")
	h.tamper(t, "INSERT INTO audit_pending SELECT audit_id FROM audit_log") // as the migration does
	h.write(t, 1)
	if got := h.verify(t, ""); !got.GetIntact() || got.GetEntries() != 4 {
		t.Errorf("got %v", got)
	}
}

func TestAReaderCannotWrite(t *testing.T) {
	h := newHouse(t)
	h.write(t, 2)
	reader, err := store.OpenReadOnly(t.Context(), h.db.DSN)
	must(t, err)
	defer reader.Close()
	if err := reader.Audit(t.Context(), act(1)); err == nil {
		t.Error("a reader wrote")
	}
	got, err := Verify(t.Context(), reader, "")
	must(t, err)
	if !got.GetIntact() || got.GetEntries() != 2 {
		t.Errorf("got %v", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
