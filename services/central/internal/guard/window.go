package guard

import (
	"fmt"
	"slices"
	"strings"
	"time"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// horizon is how far ahead a change of the windows is looked for.
const horizon = 366 * 24 * time.Hour

// window that has been read.
type window struct {
	deny   bool
	during *times
	text   string
}

// readWindows reads windows, which the door has checked.
func readWindows(set *adminv1.DisruptionWindows) ([]window, error) {
	var out []window
	for i, w := range set.GetWindows() {
		during, err := readTimes(w.GetDuring())
		if err != nil {
			return nil, fmt.Errorf("windows[%d]: %w", i, err)
		}
		if during == nil {
			return nil, fmt.Errorf("windows[%d]: during must be given", i)
		}
		out = append(out, window{deny: w.GetEffect() == "deny", during: during, text: describe(w)})
	}
	return out, nil
}

// describe a window for people.
func describe(w *adminv1.DisruptionWindow) string {
	var parts []string
	for _, span := range w.GetDuring().GetSpans() {
		parts = append(parts, strings.Join(span.GetDays(), ",")+" "+span.GetFrom()+"–"+span.GetTo())
	}
	if len(parts) == 0 {
		parts = []string{"whole days"}
	}
	text := strings.Join(parts, ", ") + " " + w.GetDuring().GetTimeZone()
	if from, to := w.GetDuring().GetFirstDate(), w.GetDuring().GetLastDate(); from != "" || to != "" {
		text += " from " + orElse(from, "ever") + " to " + orElse(to, "ever")
	}
	if w.GetReason() != "" {
		text = w.GetReason() + " (" + text + ")"
	}
	return text
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// closedBecause says why the windows forbid disruption at t; empty: they do not.
func closedBecause(windows []window, t time.Time) string {
	allows, allowed := false, false
	for _, w := range windows {
		covers := w.during.covers(t)
		if w.deny && covers {
			return "a window denies disruption now: " + w.text
		}
		allows = allows || !w.deny
		allowed = allowed || (!w.deny && covers)
	}
	if allows && !allowed {
		return "outside of the windows that allow disruption"
	}
	return ""
}

// nextChange is when the windows say something else than at t; zero: not within a year.
// It looks a week at a time, for the next change is near as a rule.
func nextChange(windows []window, t time.Time) time.Time {
	if len(windows) == 0 {
		return time.Time{}
	}
	now := closedBecause(windows, t) == ""
	for from := t; from.Before(t.Add(horizon)); from = from.Add(7 * 24 * time.Hour) {
		to := from.Add(7 * 24 * time.Hour)
		var edges []time.Time
		for _, w := range windows {
			for _, s := range w.during.between(from.Add(-48*time.Hour), to) {
				edges = append(edges, s.from, s.to)
			}
		}
		slices.SortFunc(edges, time.Time.Compare)
		for _, edge := range slices.CompactFunc(edges, time.Time.Equal) {
			if edge.After(t) && !edge.After(to) && (closedBecause(windows, edge) == "") != now {
				return edge
			}
		}
	}
	return time.Time{}
}
