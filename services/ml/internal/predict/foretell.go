package predict

import (
	"context"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/hazard"
)

// Foretell is what one model says of a question, whether or not it would be the
// answer.
func (s *Server) Foretell(ctx context.Context, m *hazard.Model, req *mlv1.PredictSpotInterruptionRequest) float64 {
	now := time.Now()
	v, _ := s.fleet.look(ctx, now)
	q := newQuestion(req, s.market.Snapshot(), v, now)
	return m.Probability(&q.row, q.minutes)
}
