package guard

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func equal[T comparable](tb testing.TB, what string, got, want T) {
	tb.Helper()
	if got != want {
		tb.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func at(tb testing.TB, text string) time.Time {
	tb.Helper()
	got, err := time.Parse(time.RFC3339, text)
	must(tb, err)
	return got
}

func weeklySpan(zone, days, from, to string) *adminv1.DisruptionSpan {
	return &adminv1.DisruptionSpan{TimeZone: zone, Spans: []*mlv1.OpenSpan{{Days: strings.Split(days, ","), From: from, To: to}}}
}

func win(effect string, during *adminv1.DisruptionSpan) *adminv1.DisruptionWindow {
	return &adminv1.DisruptionWindow{Effect: effect, During: during}
}

func read(tb testing.TB, ws ...*adminv1.DisruptionWindow) []window {
	tb.Helper()
	out, err := readWindows(&adminv1.DisruptionWindows{Windows: ws})
	must(tb, err)
	return out
}

func TestWindowsAreOpenAndCloseWhenTheClocksSaySo(t *testing.T) {
	all := "mon-sun"
	for _, c := range []struct {
		name    string
		windows []*adminv1.DisruptionWindow
		now     string
		open    bool
		change  string
	}{
		{"without windows always", nil, "2026-03-01T12:00:00Z", true, ""},
		{"in an allowed one", []*adminv1.DisruptionWindow{win("allow", weeklySpan("Europe/Berlin", "mon-fri", "22:00", "06:00"))}, "2026-03-02T22:30:00+01:00", true, "2026-03-03T06:00:00+01:00"},
		{"the begin counts", []*adminv1.DisruptionWindow{win("allow", weeklySpan("Europe/Berlin", "mon-fri", "22:00", "06:00"))}, "2026-03-02T22:00:00+01:00", true, "2026-03-03T06:00:00+01:00"},
		{"the end does not", []*adminv1.DisruptionWindow{win("allow", weeklySpan("Europe/Berlin", "mon-fri", "22:00", "06:00"))}, "2026-03-03T06:00:00+01:00", false, "2026-03-03T22:00:00+01:00"},
		{"over midnight it belongs to the day it begins on", []*adminv1.DisruptionWindow{win("allow", weeklySpan("Europe/Berlin", "fri", "22:00", "06:00"))}, "2026-03-07T05:59:00+01:00", true, "2026-03-07T06:00:00+01:00"},
		{"and not to the day it ends on", []*adminv1.DisruptionWindow{win("allow", weeklySpan("Europe/Berlin", "sat", "22:00", "06:00"))}, "2026-03-07T05:59:00+01:00", false, "2026-03-07T22:00:00+01:00"},
		{"days may wrap", []*adminv1.DisruptionWindow{win("allow", weeklySpan("UTC", "sat-mon", "00:00", "24:00"))}, "2026-03-02T23:00:00Z", true, "2026-03-03T00:00:00Z"},
		{"deny goes before allow", []*adminv1.DisruptionWindow{win("allow", weeklySpan("UTC", all, "00:00", "24:00")), win("deny", weeklySpan("UTC", "mon", "10:00", "11:00"))}, "2026-03-02T10:30:00Z", false, "2026-03-02T11:00:00Z"},
		{"from equal to to is a whole day", []*adminv1.DisruptionWindow{win("allow", weeklySpan("UTC", "mon", "10:00", "10:00"))}, "2026-03-03T09:59:00Z", true, "2026-03-03T10:00:00Z"},
		{"whole days of dates", []*adminv1.DisruptionWindow{win("deny", &adminv1.DisruptionSpan{TimeZone: "Europe/Berlin", FirstDate: "2026-12-24", LastDate: "2026-12-26"})}, "2026-12-23T22:59:00Z", true, "2026-12-24T00:00:00+01:00"},
		{"up to and with the last", []*adminv1.DisruptionWindow{win("deny", &adminv1.DisruptionSpan{TimeZone: "Europe/Berlin", FirstDate: "2026-12-24", LastDate: "2026-12-26"})}, "2026-12-26T22:59:00Z", false, "2026-12-27T00:00:00+01:00"},
		{"over it never comes back", []*adminv1.DisruptionWindow{win("deny", &adminv1.DisruptionSpan{TimeZone: "Europe/Berlin", LastDate: "2026-12-26"})}, "2026-12-27T12:00:00Z", true, ""},
		{"a date within a year is found", []*adminv1.DisruptionWindow{win("deny", &adminv1.DisruptionSpan{TimeZone: "UTC", FirstDate: "2026-12-24"})}, "2026-01-01T00:00:00Z", true, "2026-12-24T00:00:00Z"},
		{"one beyond is not", []*adminv1.DisruptionWindow{win("deny", &adminv1.DisruptionSpan{TimeZone: "UTC", FirstDate: "2028-01-01"})}, "2026-01-01T00:00:00Z", true, ""},
		// Berlin: 2026-03-29 02:00 becomes 03:00; 2026-10-25 03:00 becomes 02:00.
		{"a begin that spring skips is the moment of the change", []*adminv1.DisruptionWindow{win("allow", weeklySpan("Europe/Berlin", all, "02:30", "05:00"))}, "2026-03-29T00:59:00Z", false, "2026-03-29T01:00:00Z"},
		{"an end that spring skips, too", []*adminv1.DisruptionWindow{win("allow", weeklySpan("Europe/Berlin", all, "01:00", "02:30"))}, "2026-03-29T00:30:00Z", true, "2026-03-29T01:00:00Z"},
		{"autumn: from the first of the two", []*adminv1.DisruptionWindow{win("allow", weeklySpan("Europe/Berlin", all, "02:30", "05:00"))}, "2026-10-25T00:29:00Z", false, "2026-10-25T00:30:00Z"},
		{"autumn: to the second of the two", []*adminv1.DisruptionWindow{win("allow", weeklySpan("Europe/Berlin", all, "01:00", "02:30"))}, "2026-10-25T00:45:00Z", true, "2026-10-25T01:30:00Z"},
		// New York: 2026-03-08 02:00 becomes 03:00; 2026-11-01 02:00 becomes 01:00.
		{"spring in New York", []*adminv1.DisruptionWindow{win("allow", weeklySpan("America/New_York", all, "02:15", "04:00"))}, "2026-03-08T06:59:00Z", false, "2026-03-08T07:00:00Z"},
		{"autumn in New York, the first", []*adminv1.DisruptionWindow{win("allow", weeklySpan("America/New_York", all, "01:15", "04:00"))}, "2026-11-01T05:14:00Z", false, "2026-11-01T05:15:00Z"},
		{"autumn in New York, the second", []*adminv1.DisruptionWindow{win("allow", weeklySpan("America/New_York", all, "00:00", "01:15"))}, "2026-11-01T05:30:00Z", true, "2026-11-01T06:15:00Z"},
		{"a day of 25 hours is whole", []*adminv1.DisruptionWindow{win("allow", weeklySpan("America/New_York", "sun", "00:00", "24:00"))}, "2026-11-01T04:00:00Z", true, "2026-11-02T05:00:00Z"},
		{"a zone without changes", []*adminv1.DisruptionWindow{win("allow", weeklySpan("Asia/Kolkata", all, "09:00", "17:00"))}, "2026-11-01T03:30:00Z", true, "2026-11-01T11:30:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			windows, now := read(t, c.windows...), at(t, c.now)
			equal(t, "open", closedBecause(windows, now) == "", c.open)
			change := nextChange(windows, now)
			if c.change == "" {
				if !change.IsZero() {
					t.Errorf("changes at %v, want never", change)
				}
				return
			}
			if !change.Equal(at(t, c.change)) {
				t.Errorf("changes at %v, want %v", change.UTC(), at(t, c.change).UTC())
			}
		})
	}
}

// What nextChange says is true of the minute before and of the minute itself, and no
// minute between differs.
func TestTheNextChangeIsTheFirst(t *testing.T) {
	zones := []string{"Europe/Berlin", "America/New_York", "UTC", "Asia/Kathmandu", "Australia/Lord_Howe"}
	rapid.Check(t, func(r *rapid.T) {
		clock := rapid.Map(rapid.IntRange(0, 95), func(n int) string { return time.Unix(int64(n)*900, 0).UTC().Format("15:04") })
		var set []*adminv1.DisruptionWindow
		for range rapid.IntRange(1, 3).Draw(r, "windows") {
			set = append(set, win(rapid.SampledFrom([]string{"allow", "deny"}).Draw(r, "effect"), weeklySpan(
				rapid.SampledFrom(zones).Draw(r, "zone"), rapid.SampledFrom(append([]string{"mon-sun", "fri-tue"}, weekdays...)).Draw(r, "days"),
				clock.Draw(r, "from"), clock.Draw(r, "to"))))
		}
		windows := read(t, set...)
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 365*96).Draw(r, "quarter")) * 15 * time.Minute)
		open := closedBecause(windows, now) == ""
		change := nextChange(windows, now)
		if change.IsZero() {
			change = now.Add(14 * 24 * time.Hour)
		} else if (closedBecause(windows, change) == "") == open {
			r.Fatalf("at %v nothing changes", change)
		}
		for m := now; m.Before(change); m = m.Add(15 * time.Minute) {
			if (closedBecause(windows, m) == "") != open {
				r.Fatalf("changes at %v already, not at %v", m, change)
			}
		}
	})
}

func TestBudgetsRoundDownButLeaveOneNode(t *testing.T) {
	now := at(t, "2026-03-02T12:00:00Z")
	began := func(minutes ...int) (out []time.Time) {
		for _, m := range minutes {
			out = append(out, now.Add(-time.Duration(m)*time.Minute))
		}
		return out
	}
	one := func(nodes string, hourly int32) *adminv1.DisruptionBudget {
		return &adminv1.DisruptionBudget{Nodes: nodes, NodesPerHour: hourly}
	}
	for _, c := range []struct {
		name    string
		budgets []*adminv1.DisruptionBudget
		usage   Usage
		room    int
		until   time.Duration
	}{
		{"none", nil, Usage{Nodes: 10, Draining: 9}, Unbounded, 0},
		{"a tenth of 39 is 3", []*adminv1.DisruptionBudget{one("10%", 0)}, Usage{Nodes: 39}, 3, 0},
		{"a tenth of 9 is one", []*adminv1.DisruptionBudget{one("10%", 0)}, Usage{Nodes: 9}, 1, 0},
		{"a tenth of nothing is one", []*adminv1.DisruptionBudget{one("10%", 0)}, Usage{}, 1, 0},
		{"0% is none", []*adminv1.DisruptionBudget{one("0%", 0)}, Usage{Nodes: 100}, 0, 0},
		{"0 is none", []*adminv1.DisruptionBudget{one("0", 0)}, Usage{Nodes: 100}, 0, 0},
		{"100% is all", []*adminv1.DisruptionBudget{one("100%", 0)}, Usage{Nodes: 7}, 7, 0},
		{"those being drained count", []*adminv1.DisruptionBudget{one("3", 0)}, Usage{Nodes: 100, Draining: 2}, 1, 0},
		{"more than allowed is no room, not less", []*adminv1.DisruptionBudget{one("3", 0)}, Usage{Nodes: 100, Draining: 5}, 0, 0},
		{"empty is no bound", []*adminv1.DisruptionBudget{one("", 0)}, Usage{Nodes: 10, Draining: 10}, Unbounded, 0},
		{"the tightest holds", []*adminv1.DisruptionBudget{one("50%", 0), one("2", 0), one("", 9)}, Usage{Nodes: 10}, 2, 0},
		{"an hour's begins", []*adminv1.DisruptionBudget{one("", 3)}, Usage{Nodes: 10, Began: began(50, 20)}, 1, 0},
		{"an hour's begins are used up until the first is an hour old", []*adminv1.DisruptionBudget{one("", 2)}, Usage{Nodes: 10, Began: began(50, 20)}, 0, 10 * time.Minute},
		{"with too many begun, until enough are", []*adminv1.DisruptionBudget{one("", 1)}, Usage{Nodes: 10, Began: began(50, 20)}, 0, 40 * time.Minute},
		{"an hour ago is over", []*adminv1.DisruptionBudget{one("", 1)}, Usage{Nodes: 10, Began: began(60)}, 1, 0},
		{"two that bind last as long as the longer", []*adminv1.DisruptionBudget{one("1", 0), one("", 1)}, Usage{Nodes: 10, Draining: 1, Began: began(30)}, 0, 0},
		{"only during its span", []*adminv1.DisruptionBudget{{Nodes: "0", During: weeklySpan("UTC", "mon", "13:00", "14:00")}}, Usage{Nodes: 10}, Unbounded, 0},
		{"in its span", []*adminv1.DisruptionBudget{{Nodes: "0", During: weeklySpan("UTC", "mon", "11:00", "13:00")}}, Usage{Nodes: 10}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			budgets, err := readBudgets(&adminv1.DisruptionBudgets{Budgets: c.budgets})
			must(t, err)
			room := roomIn(budgets, now, c.usage)
			equal(t, "room", room.Nodes, c.room)
			equal(t, "a reason is given", room.Because != "", c.room == 0)
			if c.until == 0 != room.Until.IsZero() || (c.until > 0 && !room.Until.Equal(now.Add(c.until))) {
				t.Errorf("until %v, want in %v", room.Until, c.until)
			}
		})
	}
}

func TestEachValueIsThatOfTheInnermostScopeThatSetsIt(t *testing.T) {
	none, err := Resolve(nil)
	must(t, err)
	if !proto.Equal(none.Values, Defaults()) || len(none.Sources) != 0 {
		t.Errorf("without policies: %v from %v", none.Values, none.Sources)
	}
	customer := &adminv1.Policy{CustomerId: "c", Values: &adminv1.PolicyValues{Mode: proto.String(Approve), MinSavingsRatio: proto.Float64(0.1)}}
	cluster := &adminv1.Policy{CustomerId: "c", ClusterId: "k", Values: &adminv1.PolicyValues{Mode: proto.String(Automatic), Engines: &adminv1.PlanEngines{}}}
	web := &adminv1.Policy{CustomerId: "c", ClusterId: "k", Namespace: "web", Values: &adminv1.PolicyValues{Mode: proto.String(Approve)}}
	pay := &adminv1.Policy{CustomerId: "c", ClusterId: "k", Namespace: "pay", Values: &adminv1.PolicyValues{Mode: proto.String(ReadOnly)}}
	p, err := Resolve([]*adminv1.Policy{customer, cluster, web, pay})
	must(t, err)
	equal(t, "mode", p.Mode(), Automatic)
	equal(t, "from", p.Sources["mode"], cluster)
	equal(t, "ratio", p.Values.GetMinSavingsRatio(), 0.1)
	equal(t, "its source", p.Sources["min_savings_ratio"], customer)
	equal(t, "engines were set to none", len(p.Values.GetEngines().GetNames()), 0)
	equal(t, "stale after", p.StaleAfter(), time.Minute)
	for namespace, want := range map[string][2]bool{"web": {true, false}, "pay": {true, true}, "other": {false, false}} {
		equal(t, namespace+" by itself", p.Pinned(namespace, true), want[0])
		equal(t, namespace+" approved", p.Pinned(namespace, false), want[1])
	}
	lower, err := Resolve([]*adminv1.Policy{{Values: &adminv1.PolicyValues{Mode: proto.String(Recommend)}}, web})
	must(t, err)
	mode, own := lower.ModeIn("web")
	equal(t, "a namespace goes no further than its cluster", mode, Recommend)
	if own != nil || lower.Pinned("web", true) {
		t.Error("a namespace above its cluster's mode is pinned")
	}
}

func TestPoliciesThatCannotBeMeantAreRefused(t *testing.T) {
	span := weeklySpan("UTC", "mon", "00:00", "01:00")
	many := &adminv1.DisruptionWindows{}
	for range 129 {
		many.Windows = append(many.Windows, win("deny", span))
	}
	for name, p := range map[string]*adminv1.Policy{
		"a namespace without cluster":      {Namespace: "web"},
		"a budget for a namespace":         {ClusterId: "k", Namespace: "web", Values: &adminv1.PolicyValues{Budgets: &adminv1.DisruptionBudgets{Budgets: []*adminv1.DisruptionBudget{{Nodes: "1"}}}}},
		"empty windows for a namespace":    {ClusterId: "k", Namespace: "web", Values: &adminv1.PolicyValues{Windows: &adminv1.DisruptionWindows{}}},
		"a zone that does not exist":       {Values: &adminv1.PolicyValues{Windows: &adminv1.DisruptionWindows{Windows: []*adminv1.DisruptionWindow{win("deny", weeklySpan("Europe/Atlantis", "mon", "00:00", "01:00"))}}}},
		"the machine's own zone":           {Values: &adminv1.PolicyValues{Windows: &adminv1.DisruptionWindows{Windows: []*adminv1.DisruptionWindow{win("deny", weeklySpan("Local", "mon", "00:00", "01:00"))}}}},
		"a date that does not exist":       {Values: &adminv1.PolicyValues{Windows: &adminv1.DisruptionWindows{Windows: []*adminv1.DisruptionWindow{win("deny", &adminv1.DisruptionSpan{TimeZone: "UTC", FirstDate: "2026-02-30"})}}}},
		"dates in the wrong order":         {Values: &adminv1.PolicyValues{Windows: &adminv1.DisruptionWindows{Windows: []*adminv1.DisruptionWindow{win("deny", &adminv1.DisruptionSpan{TimeZone: "UTC", FirstDate: "2026-02-02", LastDate: "2026-02-01"})}}}},
		"a budget in a zone that is not":   {Values: &adminv1.PolicyValues{Budgets: &adminv1.DisruptionBudgets{Budgets: []*adminv1.DisruptionBudget{{Nodes: "1", During: weeklySpan("X/Y", "mon", "00:00", "01:00")}}}}},
		"more spans than can be looked at": {Values: &adminv1.PolicyValues{Windows: many}},
	} {
		if got := fault.ReasonOf(Check(p)); got != faultv1.Reason_REASON_INVALID_REQUEST {
			t.Errorf("%s: %v", name, got)
		}
	}
	must(t, Check(&adminv1.Policy{ClusterId: "k", Namespace: "web", Values: &adminv1.PolicyValues{Mode: proto.String(ReadOnly)}}))
	equal(t, "nothing set", Empty(&adminv1.PolicyValues{}), true)
	equal(t, "engines set to none", Empty(&adminv1.PolicyValues{Engines: &adminv1.PlanEngines{}}), false)
}

// Nothing is let through that a stop, the mode, a window, the age of the state or a
// budget forbids, and nothing else is held up.
func TestNothingGoesOnThatTheGuardDenies(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
		mode := rapid.SampledFrom(modes).Draw(r, "mode")
		effect := rapid.SampledFrom([]string{"", "allow", "deny"}).Draw(r, "window")
		inside := rapid.Bool().Draw(r, "inside")
		most := rapid.IntRange(0, 3).Draw(r, "budget")
		draining := rapid.IntRange(0, 4).Draw(r, "draining")
		age := time.Duration(rapid.IntRange(0, 120).Draw(r, "age")) * time.Second
		values := &adminv1.PolicyValues{Mode: &mode, Budgets: &adminv1.DisruptionBudgets{Budgets: []*adminv1.DisruptionBudget{{Nodes: string(rune('0' + most))}}}}
		if effect != "" {
			hours := [2]string{"13:00", "14:00"}
			if inside {
				hours = [2]string{"11:00", "14:00"}
			}
			values.Windows = &adminv1.DisruptionWindows{Windows: []*adminv1.DisruptionWindow{win(effect, weeklySpan("UTC", "mon", hours[0], hours[1]))}}
		}
		policy, err := Resolve([]*adminv1.Policy{{Values: values}})
		must(t, err)
		v := &View{Now: now, Policy: policy, SeenAt: now.Add(-age), Usage: Usage{Nodes: 10, Draining: draining}}
		if rapid.Bool().Draw(r, "stopped") {
			v.Stops = []*adminv1.Stop{{StopId: "s", Scope: "cluster", Reason: "r"}}
		}
		act := Act{Approved: rapid.Bool().Draw(r, "approved"), Drains: rapid.Bool().Draw(r, "drains")}
		denied := len(v.Stops) > 0 || mode == ReadOnly || mode == Recommend || (mode == Approve && !act.Approved) ||
			(effect == "deny" && inside) || (effect == "allow" && !inside) || age > time.Minute || (act.Drains && draining >= most)
		waiting := v.May(act)
		if denied != (waiting != nil) {
			r.Fatalf("denied %v, but waiting for %v", denied, waiting)
		}
		if waiting != nil && (waiting.GetCode() == "" || waiting.GetMessage() == "") {
			r.Fatalf("waits and does not say why: %v", waiting)
		}
	})
}
