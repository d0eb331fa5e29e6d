package market

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Server is MarketService.
type Server struct {
	mlv1.UnimplementedMarketServiceServer

	market *Market
}

// NewServer of the market's prices.
func NewServer(m *Market) *Server { return &Server{market: m} }

// ListPrices returns the price of each pool asked for; unknown ones are left out.
func (s *Server) ListPrices(_ context.Context, req *mlv1.ListPricesRequest) (*mlv1.ListPricesResponse, error) {
	now := s.market.Snapshot()
	if !now.Known(req.GetRegion()) {
		return nil, fault.NotFound("region", req.GetRegion())
	}
	wanted := map[string]bool{}
	for _, name := range req.GetInstanceTypes() {
		wanted[name] = true
	}
	spot, onDemand, _ := now.AsOf(req.GetRegion())
	answer := &mlv1.ListPricesResponse{SpotAsOf: timestamppb.New(spot), OnDemandAsOf: timestamppb.New(onDemand)}
	for _, offer := range now.priced(req.GetRegion()) {
		if len(wanted) == 0 || wanted[offer.Type.Name] {
			answer.Prices = append(answer.Prices, &mlv1.Price{
				InstanceType: offer.Type.Name, AvailabilityZone: offer.Zone, Spot: offer.Spot, OnDemand: offer.OnDemand,
			})
		}
	}
	return answer, nil
}
