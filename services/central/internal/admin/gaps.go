package admin

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// fillWithin bounds a fill of a caller that sets no bound itself.
	fillWithin = 30 * time.Minute
	// answerWithin is kept of the caller's time to say what was done.
	answerWithin = 2 * time.Second
	// noteWithin bounds writing how a run ended, after its caller has gone.
	noteWithin = 5 * time.Second
)

// AnalyzeGaps finds holes in the training data. ml looks; central notes the run.
func (s *Server) AnalyzeGaps(ctx context.Context, req *adminv1.AnalyzeGapsRequest) (*adminv1.AnalyzeGapsResponse, error) {
	run, err := gapRun(ctx, "analyze", req)
	if err != nil {
		return nil, err
	}
	if err := s.Store.StartGapRun(ctx, run); err != nil {
		return nil, err
	}
	found, err := mlv1.NewDataServiceClient(s.ML).AnalyzeGaps(ctx, &mlv1.AnalyzeGapsRequest{
		ModelTrainingDate: req.GetModelTrainingDate(), LookbackDays: req.GetLookbackDays(), ClusterId: req.GetClusterId(), MaxGaps: req.GetMaxGaps(),
	})
	if err = fromML(err); err != nil {
		return nil, errors.Join(err, s.finish(ctx, run, nil, err))
	}
	if err := s.finish(ctx, run, found, nil); err != nil {
		return nil, err
	}
	resp := &adminv1.AnalyzeGapsResponse{
		GapsFound: found.GetGapsFound(), GapsFillable: found.GetGapsFillable(), Series: found.GetSeries(),
		SeriesFound: found.GetSeriesFound(), Coverage: found.GetCoverage(), Start: found.GetStart(), End: found.GetEnd(), RunId: run.ID.String(),
	}
	for _, gap := range found.GetGaps() {
		resp.Gaps = append(resp.Gaps, &adminv1.DataGap{
			Series: gap.GetSeries(), Start: gap.GetStart(), End: gap.GetEnd(), Cause: gap.GetCause(), Missing: gap.GetMissing(),
			Fillable: gap.GetFillable(), Method: gap.GetMethod(), Reason: gap.GetReason(),
		})
	}
	return resp, nil
}

// FillGaps fills them: ml computes the rows, central writes them page by page. What is
// written stays when the rest fails or the time runs out; a fill after that does the
// rest. One runs at a time.
func (s *Server) FillGaps(ctx context.Context, req *adminv1.FillGapsRequest) (*adminv1.FillGapsResponse, error) {
	run, err := gapRun(ctx, "fill", req)
	if err != nil {
		return nil, err
	}
	resp := &adminv1.FillGapsResponse{RunId: run.ID.String()}
	alone, err := s.Store.Locked(ctx, "gap-fill", func() error { return s.fillGaps(ctx, run, req, resp) })
	if err == nil && !alone {
		err = fault.New(faultv1.Reason_REASON_CONFLICT, "another fill is running")
	}
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (s *Server) fillGaps(ctx context.Context, run store.GapRun, req *adminv1.FillGapsRequest, resp *adminv1.FillGapsResponse) error {
	if err := s.beginFill(ctx, run); err != nil {
		return err
	}
	within, cancel := fillTime(ctx)
	defer cancel()
	sum := &store.Filled{}
	err := s.takeRows(within, run, &mlv1.ListFilledRowsRequest{
		ModelTrainingDate: req.GetModelTrainingDate(), LookbackDays: req.GetLookbackDays(), ClusterId: req.GetClusterId(),
	}, sum, resp)
	resp.GapsFilled, resp.Records = sum.Gaps(), sum.Records
	late := err != nil && within.Err() != nil && ctx.Err() == nil
	resp.Complete = err == nil
	noted := s.finish(ctx, run, nil, err)
	if late { // what is done is done, and worth an answer
		err = nil
	}
	return errors.Join(err, noted)
}

// beginFill writes the run and the audit's line, or neither.
func (s *Server) beginFill(ctx context.Context, run store.GapRun) error {
	return s.Store.InTx(ctx, func(tx *store.Store) error {
		if err := tx.StartGapRun(ctx, run); err != nil {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: run.AskedBy, Action: "gaps.fill", Cluster: run.Cluster, Subject: run.ID.String(),
			Detail: map[string]any{"model_training_date": run.TrainingDate, "lookback_days": run.LookbackDays},
		})
	})
}

// fillTime ends a little before the caller's does.
func fillTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, fillWithin)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(answerWithin, time.Until(deadline)/2)))
}

// takeRows writes each page in a transaction of its own.
func (s *Server) takeRows(ctx context.Context, run store.GapRun, req *mlv1.ListFilledRowsRequest, sum *store.Filled, resp *adminv1.FillGapsResponse) error {
	stream, err := mlv1.NewDataServiceClient(s.ML).ListFilledRows(ctx, req)
	if err != nil {
		return fromML(err)
	}
	for {
		page, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fromML(err)
		}
		if len(page.GetGaps()) > 0 {
			if err := s.Store.AddFilledRows(ctx, run.ID, page.GetGaps(), sum); err != nil {
				return err
			}
		}
		resp.FailedSources = append(resp.FailedSources, page.GetFailedSources()...)
		resp.GapsLeftOpen += page.GetGapsLeftOpen()
	}
}

// gapRequest is what analyzing and filling are asked with.
type gapRequest interface {
	GetModelTrainingDate() *timestamppb.Timestamp
	GetLookbackDays() int32
	GetClusterId() string
}

func gapRun(ctx context.Context, kind string, req gapRequest) (store.GapRun, error) {
	run := store.GapRun{
		ID: uuid.New(), Kind: kind, AskedBy: auth.From(ctx).Actor(),
		TrainingDate: req.GetModelTrainingDate().AsTime(), LookbackDays: req.GetLookbackDays(),
	}
	if id := req.GetClusterId(); id != "" {
		cluster, err := parse("cluster_id", id)
		if err != nil {
			return run, err
		}
		run.Cluster = some(cluster)
	}
	return run, nil
}

// finish writes how a run ended, even if its caller has gone.
func (s *Server) finish(ctx context.Context, run store.GapRun, found *mlv1.AnalyzeGapsResponse, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteWithin)
	defer cancel()
	failure := ""
	if failed != nil {
		failure = fault.From(failed).Message
	}
	var coverage *float64
	if found != nil {
		coverage = &found.Coverage
	}
	return s.Store.FinishGapRun(ctx, run.ID, found.GetGapsFound(), coverage, failure)
}
