// Package gaps serves DataService: it finds the holes in the training data and
// computes what may fill them. It writes nothing.
package gaps

import (
	"context"
	"errors"
	"log/slog"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

var errNoDatabase = errors.New("none is configured")

// History is what AWS can still tell of spot prices.
type History interface {
	// Available says whether it can be asked at all.
	Available(ctx context.Context) bool
	// SpotPrices of the types in a region between two moments, page by page, with the
	// price in force at the first. An error of page ends it.
	SpotPrices(ctx context.Context, region string, types []string, since, until time.Time, page func([]*mlv1.SpotPriceRow) error) error
}

// Config is what the service needs.
type Config struct {
	// Store may be nil: no database is configured, and nothing can be looked at.
	Store *store.Store
	// History may be nil: AWS is not asked.
	History History
	Log     *slog.Logger
}

// Server is DataService.
type Server struct {
	mlv1.UnimplementedDataServiceServer
	Config
	now func() time.Time
}

// New service.
func New(cfg Config) *Server { return &Server{Config: cfg, now: time.Now} }

// AnalyzeGaps finds holes before the training date, and why they are there.
func (s *Server) AnalyzeGaps(ctx context.Context, req *mlv1.AnalyzeGapsRequest) (*mlv1.AnalyzeGapsResponse, error) {
	q, err := s.read(ctx, req)
	if err != nil {
		return nil, err
	}
	most := int(req.GetMaxGaps())
	if most == 0 {
		most = defaultGaps
	}
	report := newReport(most)
	if err := s.walk(ctx, q, func(l *look) error { report.add(l); return nil }); err != nil {
		return nil, err
	}
	return report.answer(q), nil
}

// FillGaps counts what a fill would write, and shows the first rows.
func (s *Server) FillGaps(ctx context.Context, req *mlv1.FillGapsRequest) (*mlv1.FillGapsResponse, error) {
	q, err := s.read(ctx, req)
	if err != nil {
		return nil, err
	}
	answer := &mlv1.FillGapsResponse{}
	left, seen := int(req.GetMaxRows()), map[string]bool{}
	end, err := s.fill(ctx, q, func(page *mlv1.ListFilledRowsResponse) error {
		for _, gap := range page.GetGaps() {
			key := gap.GetSeries() + gap.GetStart().String()
			if !seen[key] {
				seen[key] = true
				answer.GapsFilled++
			}
			rows := len(gap.GetReports()) + len(gap.GetSpotPrices())
			answer.Records += int32(rows)
			if left > 0 {
				cut(gap, left)
				answer.Gaps = append(answer.Gaps, gap)
				left -= rows
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	answer.GapsLeftOpen, answer.FailedSources = end.leftOpen, end.failed
	return answer, nil
}

func cut(gap *mlv1.FilledGap, rows int) {
	gap.Reports = gap.GetReports()[:min(rows, len(gap.GetReports()))]
	gap.SpotPrices = gap.GetSpotPrices()[:min(rows, len(gap.GetSpotPrices()))]
}

// ListFilledRows returns every row that closes a hole.
func (s *Server) ListFilledRows(req *mlv1.ListFilledRowsRequest, stream mlv1.DataService_ListFilledRowsServer) error {
	q, err := s.read(stream.Context(), req)
	if err != nil {
		return err
	}
	end, err := s.fill(stream.Context(), q, stream.Send)
	if err != nil {
		return err
	}
	return stream.Send(&mlv1.ListFilledRowsResponse{FailedSources: end.failed, GapsLeftOpen: end.leftOpen})
}
