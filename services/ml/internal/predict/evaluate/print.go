package evaluate

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// Print the report for people.
func (r *Report) Print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line("\nLost within %v min; split %s; %d training examples, %d test rows, %.1f %% positive", r.Task.HorizonMinutes,
		r.Task.Split.UTC().Format(time.RFC3339), r.TrainRows, r.TestRows, 100*r.Positive)
	line("model: %s\n", r.Model)
	line("predictor\tAUC\tAP\tBrier\tlog-loss\tECE\tnet utility")
	row := func(s Scores, utility string) {
		line("%s\t%.3f\t%.3f\t%.4f\t%.4f\t%.4f\t%s", s.Name, s.AUC, s.AveragePrecision, s.Brier, s.LogLoss, s.ECE, utility)
	}
	for i, s := range r.TimeSplit {
		utility := r.BreakEven.NetUtility
		if i > 0 {
			utility = r.BreakEvenOf[s.Name]
		}
		row(s, fmt.Sprintf("%.2f", utility))
	}
	row(r.WithoutProbes, "")
	row(r.WithoutFleet, "")
	if r.LeavePoolOut != nil {
		row(*r.LeavePoolOut, "")
	}
	line("\nsaid\twas\trows")
	for _, b := range r.Reliability {
		line("%.3f\t%.3f\t%d", b.Said, b.Was, b.Rows)
	}
	line("\ndrains per instance-day\tthreshold\trecall\tprecision\tlead min p10/p50/p90\tnet utility")
	for _, p := range append(slices.Clone(r.AtBudget), r.BreakEven) {
		line("%.2f\t%.3f\t%.3f\t%.3f\t%.0f/%.0f/%.0f\t%.2f", p.DrainsPerDay, p.Threshold, p.Recall, p.Precision,
			p.LeadMinutes[0], p.LeadMinutes[1], p.LeadMinutes[2], p.NetUtility)
	}
	line("\nNet utility: USD per pod and 100 instance-hours when drained at 0.25: 1.00 for each restart avoided less 0.25 for each drain.")
	if r.Shuffled != nil {
		line("\nOutcomes dealt anew: AUC %.3f", *r.Shuffled)
	}
	line("\nfeature\tshare of gain")
	names := slices.SortedFunc(maps.Keys(r.Importance), func(a, b string) int {
		switch x, y := r.Importance[a], r.Importance[b]; {
		case x > y:
			return -1
		case x < y:
			return 1
		case a < b:
			return -1
		}
		return 1
	})
	for _, name := range names {
		if r.Importance[name] > 0 {
			line("%s\t%.3f", name, r.Importance[name])
		}
	}
	return w.Flush()
}
