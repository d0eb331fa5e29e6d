package command_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/command"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/evaluate"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/hazard"
)

// table of lives: one pool loses instances ten times as fast as the other.
func table(t *testing.T) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	text := &strings.Builder{}
	text.WriteString("instance_type,region,availability_zone,started_at,ended_at,ended_by\n")
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for i := range 160 {
		zone, hours, by := "us-east-1a", rng.ExpFloat64()*20, "interruption"
		if i%2 == 0 {
			zone, hours = "us-east-1b", hours/10
		}
		if hours > 12 {
			hours, by = 12, "scale_in"
		}
		born := start.Add(time.Duration(i) * 3 * time.Hour)
		fmt.Fprintf(text, "m5.large,us-east-1,%s,%s,%s,%s\n", zone, born.Format(time.RFC3339), born.Add(time.Duration(hours*float64(time.Hour))).Format(time.RFC3339), by)
	}
	path := filepath.Join(t.TempDir(), "lives.csv")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTrainWritesAModelThatCanBeUploaded(t *testing.T) {
	data, model := table(t), filepath.Join(t.TempDir(), "model.json")
	var out bytes.Buffer
	if err := command.Train(t.Context(), []string{"-data", data, "-out", model, "-trees", "25"}, &out); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := forest.Load(forest.Native, raw)
	if err != nil {
		t.Fatal(err)
	}
	m, err := hazard.New(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Notes()[hazard.NoteData]) != 64 || !strings.Contains(out.String(), "sha256") {
		t.Errorf("notes %v, output %s", f.Notes(), out.String())
	}
	calm, rough := feature.NewRow(), feature.NewRow()
	calm[feature.LossRateSoFar], rough[feature.LossRateSoFar] = 0.02, 0.5
	if a, b := m.Probability(&calm, 60), m.Probability(&rough, 60); !(a < b) {
		t.Errorf("calm pool %v, rough one %v", a, b)
	}
}

func TestEvaluatePrintsAReport(t *testing.T) {
	data := table(t)
	var out bytes.Buffer
	if err := command.Evaluate(t.Context(), []string{"-data", data, "-json", "-trees", "25"}, &out); err != nil {
		t.Fatal(err)
	}
	var report evaluate.Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if report.TestRows == 0 || len(report.TimeSplit) != 6 || report.TimeSplit[0].Name != "model" || report.TimeSplit[0].AUC < 0.55 {
		t.Errorf("report %+v", report)
	}
	var text bytes.Buffer
	if err := report.Print(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"model", "advisor_midpoint", "logistic", "said", "threshold"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in %s", want, text.String())
		}
	}
}

func TestWrongArgumentsAreSaid(t *testing.T) {
	data := table(t)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no data":            {[]string{"-out", "x"}, "-data"},
		"no output":          {[]string{"-data", data}, "-out"},
		"an unknown ending":  {[]string{"-data", "/tmp/x.parquet", "-out", "x"}, "no such file"},
		"a bad time":         {[]string{"-data", data, "-out", "x", "-from", "may"}, "-from"},
		"a bad expression":   {[]string{"-data", data, "-out", "x", "-match", "("}, "-match"},
		"too often":          {[]string{"-data", data, "-out", "x", "-every", "1s"}, "-every"},
		"something too much": {[]string{"-data", data, "-out", "x", "more"}, "arguments"},
	} {
		t.Run(name, func(t *testing.T) {
			err := command.Train(t.Context(), c.args, &bytes.Buffer{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
	for name, args := range map[string][]string{
		"a share":   {"-data", data, "-train-share", "2"},
		"a horizon": {"-data", data, "-horizon-minutes", "61"},
		"a split":   {"-data", data, "-split", "noon"},
	} {
		if err := command.Evaluate(t.Context(), args, &bytes.Buffer{}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	var help bytes.Buffer
	if err := command.Train(t.Context(), []string{"-h"}, &help); err != nil || !strings.Contains(help.String(), "ended_by") {
		t.Errorf("help: %v, %s", err, help.String())
	}
}
