package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The public traces' time split. A row is a moment at which a pool was up: of each of the nine
// pools recorded from 2023-02-15 on (20,158 ticks of 195 s), every seventh tick (22 min 45 s)
// of the last two fifths of the time, if at least an hour is left to look at. It
// is positive if the pool was down at any tick within 60 minutes after it: 7,237 rows, 17.4 %
// positive. Training ends at the split, outcomes included. An earlier recording, of October 2022,
// is trained on too, by all predictors.
const (
	predictTraces  = `availability/1-node`
	predictTest    = `aws-02-15-2023`
	predictSplit   = "2023-03-14T07:08:06Z"
	predictEvery   = "22m45s"
	predictHorizon = "60"
)

// scores of one predictor, as ml evaluate prints them.
type scores struct {
	Name  string  `json:"name"`
	AUC   float64 `json:"auc"`
	AP    float64 `json:"average_precision"`
	Brier float64 `json:"brier"`
	ECE   float64 `json:"ece"`
}

// predict measures the interruption model on the public traces, beside simpler
// predictors on the same rows.
func (b *bench) predict(ctx context.Context) error {
	data := os.Getenv("CLOUDOPTIM_DATA")
	if data == "" {
		data = filepath.Join(b.root, "..", "shared", "data")
	}
	traces := filepath.Join(data, "spot-traces", "skypilot-spot-traces.tar.gz")
	if _, err := os.Stat(traces); errors.Is(err, os.ErrNotExist) {
		fmt.Println("predict: no traces ($CLOUDOPTIM_DATA): no figures")
		return nil
	}
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	ml := filepath.Join(dir, "ml")
	build := exec.CommandContext(ctx, "go", "build", "-o", ml, "./services/ml")
	build.Dir, build.Stderr = b.root, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building ml: %w", err)
	}
	cmd := exec.CommandContext(ctx, ml, "evaluate", "-json", "-data", traces, "-match", predictTraces, "-test-match", predictTest,
		"-split", predictSplit, "-test-every", predictEvery, "-horizon-minutes", predictHorizon, "-leave-pool-out", "-shuffle")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("evaluating: %w", err)
	}
	var report struct {
		Rows          int      `json:"test_rows"`
		TimeSplit     []scores `json:"time_split"`
		WithoutProbes scores   `json:"without_probes"`
		LeavePoolOut  scores   `json:"leave_pool_out"`
		Shuffled      float64  `json:"shuffled_auc"`
		TrainSeconds  float64  `json:"train_seconds"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return fmt.Errorf("reading the report: %w", err)
	}
	by := map[string]scores{}
	for _, s := range report.TimeSplit {
		by[s.Name] = s
	}
	model, peer := by["model"], by["logistic"]
	if report.Rows == 0 || model.AUC == 0 || peer.AUC == 0 {
		return errors.New("the report has no rows, or neither model nor logistic baseline")
	}
	b.noteAtLeast("predict.auc", model.AUC, "", 0.85, fmt.Sprintf("logistic regression on the same %d rows: predict.auc.logistic", report.Rows))
	b.note("predict.brier", model.Brier, "", atMost(0.105), "predict.brier.logistic")
	b.note("predict.ece", model.ECE, "", atMost(0.02), "predict.ece.logistic")
	b.note("predict.average_precision", model.AP, "", nil, "predict.average_precision.logistic")
	b.note("predict.auc.logistic", peer.AUC, "", nil, "")
	b.note("predict.brier.logistic", peer.Brier, "", nil, "")
	b.note("predict.ece.logistic", peer.ECE, "", nil, "")
	b.note("predict.average_precision.logistic", peer.AP, "", nil, "")
	b.note("predict.auc.advisor", by["advisor_midpoint"].AUC, "", nil, "")
	b.note("predict.brier.constant", by["constant"].Brier, "", nil, "")
	b.note("predict.auc.without_probes", report.WithoutProbes.AUC, "", nil, "the same model where availability is not probed")
	b.note("predict.auc.leave_pool_out", report.LeavePoolOut.AUC, "", nil, "each pool by a model that was not trained on it")
	b.note("predict.auc.shuffled", report.Shuffled, "", nil, "0.5: outcomes dealt anew")
	b.note("predict.train_s", report.TrainSeconds, "s", atMost(120), "")
	return nil
}
