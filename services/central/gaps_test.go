package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

// The guide's own body.
const gapsBody = `{"model_training_date": "2025-11-28T10:00:00Z", "lookback_days": 30}`

// training is an ml that has found gaps: its rows go to the cluster.
type training struct {
	mlv1.UnimplementedDataServiceServer
	cluster string
	// broken after so many pages; 0: never. hang after them until the caller goes.
	broken int
	hang   bool
	// going tells that the pages have been sent.
	going chan struct{}
}

func (d *training) AnalyzeGaps(_ context.Context, req *mlv1.AnalyzeGapsRequest) (*mlv1.AnalyzeGapsResponse, error) {
	return &mlv1.AnalyzeGapsResponse{
		Gaps: []*mlv1.DataGap{{
			Series: "cluster_metrics/" + d.cluster, Start: timestamppb.New(gapStart), End: timestamppb.New(gapStart.Add(time.Hour)),
			Cause: "agent_down", Missing: 60, Fillable: true, Method: "linear",
		}},
		GapsFound: 1, GapsFillable: 1, Series: []*mlv1.SeriesCoverage{{Series: "cluster_metrics/" + d.cluster, Coverage: 0.97, Expected: 100, Observed: 97}},
		SeriesFound: 1, Coverage: 0.97, Start: timestamppb.New(gapStart), End: req.GetModelTrainingDate(),
	}, nil
}

var gapStart = time.Now().Add(time.Hour).UTC().Truncate(time.Minute) // after the cluster was made

// ListFilledRows sends two gaps of reports on three pages, and one of prices.
func (d *training) ListFilledRows(_ *mlv1.ListFilledRowsRequest, stream grpc.ServerStreamingServer[mlv1.ListFilledRowsResponse]) error {
	gap := func(start time.Time, rows ...int) *mlv1.FilledGap {
		g := &mlv1.FilledGap{
			Series: "cluster_metrics/" + d.cluster, Start: timestamppb.New(start), Method: "linear", ClusterId: d.cluster, StepSeconds: 60,
		}
		for _, m := range rows {
			g.Reports = append(g.Reports, &mlv1.ReportRow{At: timestamppb.New(start.Add(time.Duration(m) * time.Minute)), TotalNodes: 3, SpotNodes: 2, OnDemandNodes: 1})
		}
		return g
	}
	later := gapStart.Add(3 * time.Hour)
	for n, page := range []*mlv1.ListFilledRowsResponse{
		{Gaps: []*mlv1.FilledGap{gap(gapStart, 0, 1, 2)}},
		{Gaps: []*mlv1.FilledGap{gap(gapStart, 3), gap(later, 0)}},
		{Gaps: []*mlv1.FilledGap{gap(later, 1), {
			Series: "spot_prices/us-east-1/us-east-1a/m5.large", Start: timestamppb.New(gapStart), Method: "aws_history",
			SpotPrices: []*mlv1.SpotPriceRow{{
				Region: "us-east-1", AvailabilityZone: "us-east-1a", InstanceType: "m5.large", At: timestamppb.New(gapStart), Price: 0.04,
			}},
		}}},
		{GapsLeftOpen: 2, FailedSources: []string{"spot_prices/eu-west-1"}},
	} {
		if d.broken > 0 && n == d.broken {
			if d.hang {
				close(d.going)
				<-stream.Context().Done()
				return stream.Context().Err()
			}
			return errors.New("ml fell over")
		}
		if err := stream.Send(page); err != nil {
			return err
		}
	}
	return nil
}

// trained is a central whose ml has found gaps in its cluster.
func trained(t *testing.T) (*house, *training) {
	t.Helper()
	data := &training{going: make(chan struct{})}
	h := open(t, (&ml{data: data}).serve(t), unlimited)
	data.cluster = h.cluster
	return h, data
}

// count is the number a query returns.
func (h *house) count(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	if err := h.db.Pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestGapsAreAnalyzedAndFilledAsDocumented(t *testing.T) {
	h, _ := trained(t)
	const analyze, fill = "/api/v1/admin/gap-filler/analyze", "/api/v1/admin/gap-filler/fill"
	h.visit(t, h.fill(), []request{
		{"analyze", "POST", analyze, h.platform, gapsBody, 200, `{
			"gaps": [{"series": "cluster_metrics/{cluster}", "start": "<time>", "end": "<time>", "cause": "agent_down", "missing": 60,
				"fillable": true, "method": "linear", "reason": ""}],
			"gaps_found": 1, "gaps_fillable": 1, "series_found": 1, "coverage": 0.97, "start": "<time>", "end": "<time>", "run_id": "<uuid>",
			"series": [{"series": "cluster_metrics/{cluster}", "coverage": 0.97, "expected": 100, "observed": 97}]}`},
		{"fill", "POST", fill, h.platform, gapsBody, 200, `{"gaps_filled": 3, "records": 7, "run_id": "<uuid>", "gaps_left_open": 2,
			"failed_sources": ["spot_prices/eu-west-1"], "complete": true}`},
		{"fill again", "POST", fill, h.platform, gapsBody, 200, `{"gaps_filled": 0, "records": 0, "complete": true}`},
	})
	if n := h.count(t, `SELECT count(*) FROM cluster_metrics m JOIN gap_runs r USING (run_id)
		WHERE m.imputed AND m.method = 'linear' AND r.kind = 'fill' AND r.records = 7 AND r.gaps_filled = 3 AND r.finished_at IS NOT NULL AND r.error = ''`); n != 6 {
		t.Errorf("%d marked rows of the run, want 6", n)
	}
	if n := h.count(t, "SELECT count(*) FROM spot_prices WHERE method = 'aws_history' AND NOT imputed AND run_id IS NOT NULL"); n != 1 {
		t.Errorf("%d prices, want 1", n)
	}
	if n := h.count(t, "SELECT count(*) FROM gap_runs WHERE kind = 'analyze' AND coverage = 0.97 AND gaps_found = 1 AND lookback_days = 30"); n != 1 {
		t.Errorf("%d analyses noted, want 1", n)
	}
	if n := h.count(t, "SELECT count(*) FROM audit_log WHERE action = 'gaps.fill'"); n != 2 {
		t.Errorf("%d lines in the audit, want 2", n)
	}
}

func TestAFillThatIsCutOffKeepsWhatItWroteAndIsFinishedByTheNext(t *testing.T) {
	h, data := trained(t)
	const fill = "/api/v1/admin/gap-filler/fill"
	data.broken = 1
	requireError(t, h.call(t, "POST", fill, h.platform, gapsBody), 500, "INTERNAL")
	if n := h.count(t, "SELECT count(*) FROM cluster_metrics WHERE imputed"); n != 3 {
		t.Fatalf("%d rows after the cut, want the 3 of the first page", n)
	}
	if n := h.count(t, "SELECT count(*) FROM gap_runs WHERE error <> '' AND finished_at IS NOT NULL AND records = 3 AND gaps_filled = 1"); n != 1 {
		t.Errorf("the run that failed is not noted")
	}
	// A replica that dies leaves its run open; the next one ends it.
	if _, err := h.db.Pool.Exec(t.Context(), "UPDATE gap_runs SET finished_at = NULL, error = ''"); err != nil {
		t.Fatal(err)
	}
	data.broken = 0
	h.visit(t, h.fill(), []request{{"the rest", "POST", fill, h.platform, gapsBody, 200, `{"gaps_filled": 3, "records": 4, "complete": true}`}})
	if n := h.count(t, "SELECT count(*) FROM gap_runs WHERE finished_at IS NULL"); n != 0 {
		t.Errorf("%d runs are still open", n)
	}
}

func TestOnlyOneFillRunsAndOneWhoseCallerGoesEnds(t *testing.T) {
	h, data := trained(t)
	data.broken, data.hang = 2, true
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/api/v1/admin/gap-filler/fill", strings.NewReader(gapsBody))
		if err == nil {
			req.Header.Set("Authorization", "Bearer "+h.platform)
			var resp *http.Response
			if resp, err = http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
		done <- err
	}()
	<-data.going
	requireError(t, h.call(t, "POST", "/api/v1/admin/gap-filler/fill", h.platform, gapsBody), 409, "CONFLICT")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller who left got %v", err)
	}
	within(t, "the run has ended", func() bool {
		return h.count(t, "SELECT count(*) FROM gap_runs WHERE kind = 'fill' AND finished_at IS NOT NULL AND error <> ''") == 1
	})
	data.broken = 0
	var got answer
	within(t, "the lock is let go, a moment after the run's end is written", func() bool {
		got = h.call(t, "POST", "/api/v1/admin/gap-filler/fill", h.platform, gapsBody)
		return got.status != 409
	})
	if got.status != 200 {
		t.Errorf("the next fill: %d %s", got.status, got.text)
	}
	if n := h.count(t, "SELECT sum(records) FROM gap_runs"); n != 7 || h.count(t, "SELECT count(*) FROM cluster_metrics WHERE imputed") != 6 {
		t.Errorf("both runs wrote %d rows, want 7", n)
	}
}

func TestWithMLAwayGapsAreNotAnalyzed(t *testing.T) {
	h := open(t, "127.0.0.1:1", unlimited)
	for _, path := range []string{"analyze", "fill"} {
		requireError(t, h.call(t, "POST", "/api/v1/admin/gap-filler/"+path, h.platform, gapsBody), 503, "UNAVAILABLE")
	}
	if n := h.count(t, "SELECT count(*) FROM gap_runs WHERE error <> ''"); n != 2 {
		t.Errorf("%d runs noted as failed, want 2", n)
	}
}

func TestOverGRPCAFillTellsWhatItDidBeforeTheCallersTimeRunsOut(t *testing.T) {
	h, data := trained(t)
	data.broken, data.hang = 2, true
	req := &adminv1.FillGapsRequest{ModelTrainingDate: timestamppb.Now(), LookbackDays: 30}
	dial := func(key string) adminv1.AdminServiceClient {
		conn, err := rpc.Dial(h.grpc, rpc.DialConfig{APIKey: key})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return adminv1.NewAdminServiceClient(conn)
	}
	staff := dial(h.platform)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := staff.FillGaps(ctx, req)
	if err != nil || got.GetComplete() || got.GetRecords() != 5 || got.GetGapsFilled() != 2 {
		t.Errorf("got %v (%v), want the 5 rows of two gaps that came in time", got, err)
	}
	for code, call := range map[codes.Code]func() error{
		codes.PermissionDenied: func() error { _, err := dial(h.admin).FillGaps(t.Context(), req); return err },
		codes.Unauthenticated: func() error {
			_, err := dial("").AnalyzeGaps(t.Context(), &adminv1.AnalyzeGapsRequest{ModelTrainingDate: timestamppb.Now(), LookbackDays: 30})
			return err
		},
		codes.InvalidArgument: func() error {
			_, err := staff.FillGaps(t.Context(), &adminv1.FillGapsRequest{LookbackDays: 1})
			return err
		},
	} {
		if err := call(); status.Code(err) != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
}
