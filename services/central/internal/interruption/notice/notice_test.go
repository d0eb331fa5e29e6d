package notice_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
)

var update = flag.Bool("update", false, "write the golden files anew; read what changed")

// read is what becomes of a message, in the form of the golden files.
type read struct {
	Dropped *notice.Dropped `json:",omitempty"`
	Notices []notice.Notice `json:",omitempty"`
}

// sent is when the queue got each message of the corpus.
var sent = time.Date(2026, 8, 21, 10, 15, 2, 0, time.UTC)

func parse(t *testing.T, body []byte) read {
	t.Helper()
	notices, err := notice.ParseSent(body, sent)
	var r read
	if err != nil && !errors.As(err, &r.Dropped) {
		t.Fatalf("error is no *Dropped: %v", err)
	}
	if (r.Dropped == nil) != (len(notices) > 0) {
		t.Fatalf("%d notices and error %v", len(notices), err)
	}
	r.Notices = notices
	return r
}

func corpus(tb testing.TB) map[string][]byte {
	tb.Helper()
	files, err := filepath.Glob("testdata/corpus/*.body")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no corpus: %v", err)
	}
	bodies := map[string][]byte{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		bodies[strings.TrimSuffix(filepath.Base(file), ".body")] = body
	}
	return bodies
}

// F3, F4 and F5 are rows of the corpus: what is broken, what is wrapped, what
// names many.
func TestF3AndF4EveryMessageOfTheCorpusIsReadAsItsGoldenFileSays(t *testing.T) {
	for name, body := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(parse(t, body), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "corpus", name+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestF3WhatIsBrokenIsPoisonAndWhatIsNotAskedForIsNot(t *testing.T) {
	for name, body := range corpus(t) {
		got := parse(t, body)
		if broken := strings.HasPrefix(name, "broken_"); broken != (got.Dropped != nil && got.Dropped.Poison) {
			t.Errorf("%s: %+v", name, got.Dropped)
		}
	}
}

func TestF3ABodyOf256KilobytesIsRead(t *testing.T) {
	event := func(padding int) []byte {
		return fmt.Appendf(nil, `{"source":"aws.ec2","detail-type":"EC2 Spot Instance Interruption Warning","time":"2026-08-21T10:15:00Z",
			"padding":%q,"detail":{"instance-id":"i-0abc","instance-action":"terminate"}}`, strings.Repeat("x", padding))
	}
	if got := parse(t, event(256<<10)); len(got.Notices) != 1 {
		t.Errorf("%+v", got)
	}
	if got := parse(t, event(1<<20)); got.Dropped == nil || got.Dropped.Reason != "too_large" || !got.Dropped.Poison {
		t.Errorf("%+v", got)
	}
	if got := parse(t, []byte(strings.Repeat("[", 256<<10))); got.Dropped == nil || !got.Dropped.Poison {
		t.Errorf("%+v", got)
	}
}

func TestF5EachInstanceOfAHealthEventIsANoticeWithAKeyOfItsOwn(t *testing.T) {
	bodies := corpus(t)
	keys := map[string]bool{}
	count := 0
	for _, name := range []string{"health_page_1_of_2", "health_page_2_of_2", "health_three_entities"} {
		for _, n := range parse(t, bodies[name]).Notices {
			keys[n.Key] = true
			count++
		}
	}
	if count != 6 || len(keys) != 3 { // both pages say what the third message says at once
		t.Errorf("%d notices with %d keys: %v", count, len(keys), keys)
	}
	many := strings.Replace(string(bodies["health_one_entity"]), `"affectedEntities": [`,
		`"affectedEntities": [`+strings.Repeat(`{"entityValue":"i-1"},`, 1001), 1)
	if got := parse(t, []byte(many)); got.Dropped == nil || got.Dropped.Reason != "too_many_entities" {
		t.Errorf("%+v", got.Dropped)
	}
}

func TestF12HibernationBeginsAtOnce(t *testing.T) {
	n := parse(t, corpus(t)["spot_hibernate"]).Notices[0]
	if !n.Deadline.Equal(n.SaidAt) {
		t.Errorf("said at %s, deadline %s", n.SaidAt, n.Deadline)
	}
}

func TestSayingTheSameTwiceGivesTheSameKey(t *testing.T) {
	bodies := corpus(t)
	for a, b := range map[string]string{
		"spot_terminate":                "sns_spot",
		"asg_terminate_hook":            "asg_hook_without_eventbridge",
		"capacity_reservation":          "capacity_detail_type_with_underscore",
		"health_one_entity":             "health_day_of_one_digit",
		"tolerated_no_account":          "tolerated_version_1",
		"health_page_1_of_2":            "health_three_entities",
		"tolerated_no_time":             "tolerated_duplicate_keys",
		"state_terminated":              "state_terminated",
		"spot_action_unknown":           "spot_terminate",
		"health_from_the_backup_region": "health_one_entity",
	} {
		if x, y := parse(t, bodies[a]).Notices[0], parse(t, bodies[b]).Notices[0]; x.Key != y.Key {
			t.Errorf("%s has %s, %s has %s", a, x.Key, b, y.Key)
		}
	}
	distinct := map[string]string{}
	for _, name := range []string{
		"spot_terminate", "spot_stop", "spot_hibernate", "rebalance", "state_stopping", "state_stopped", "state_shutting_down",
		"state_terminated", "asg_terminate_hook", "capacity_reservation", "health_one_entity", "health_without_start",
	} {
		key := parse(t, bodies[name]).Notices[0].Key
		if other, taken := distinct[key]; taken {
			t.Errorf("%s and %s share %s", name, other, key)
		}
		distinct[key] = name
	}
}

func TestWhatNobodySaidTheTimeOfHasNoDeadline(t *testing.T) {
	notices, err := notice.Parse(corpus(t)["tolerated_no_time"])
	if err != nil || !notices[0].SaidAt.IsZero() || !notices[0].Deadline.IsZero() {
		t.Errorf("%+v, %v", notices, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, body := range corpus(f) {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := parse(t, body)
		if got.Dropped != nil && (got.Dropped.Reason == "" || len(got.Dropped.Reason) > 40) {
			t.Errorf("reason %q", got.Dropped.Reason)
		}
		if len(got.Notices) > 1000 {
			t.Errorf("%d notices of one message", len(got.Notices))
		}
		keys := map[string]bool{}
		for _, n := range got.Notices {
			requireBounded(t, n)
			keys[n.Key] = true
		}
		if len(keys) != len(got.Notices) {
			t.Errorf("%d notices with %d keys", len(got.Notices), len(keys))
		}
	})
}

// requireBounded is what PostgreSQL and the log can rely on.
func requireBounded(t *testing.T, n notice.Notice) {
	t.Helper()
	texts := map[string]int{n.InstanceID: 50, n.Region: 80, n.Zone: 120, n.Action: 20, n.State: 20, n.MessageID: 256, n.Key: 800}
	if n.Hook != nil {
		texts[n.Hook.Group], texts[n.Hook.Name], texts[n.Hook.Token] = 255, 255, 255
	}
	for text, most := range texts {
		if len(text) > most || strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
			t.Errorf("text of %d bytes, %d are allowed: %.100q", len(text), most, text)
		}
	}
	if n.InstanceID == "" || n.Key == "" || n.Type == "" || n.Source != notice.FromSQS {
		t.Errorf("incomplete: %+v", n)
	}
	detail, err := json.Marshal(n.Detail)
	if err != nil || len(detail) > 4<<10 {
		t.Errorf("detail of %d bytes, %v", len(detail), err)
	}
}
