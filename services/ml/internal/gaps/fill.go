package gaps

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/gaps/series"
)

// send takes a page of rows.
type send func(*mlv1.ListFilledRowsResponse) error

// ending is what is said of a fill at its end.
type ending struct {
	leftOpen int32
	failed   []string
}

// fill computes the rows of every gap that may be filled, and sends them in pages.
func (s *Server) fill(ctx context.Context, q *question, to send) (*ending, error) {
	end, out := &ending{}, &pages{to: to}
	var pools []*look // of one region
	flush := func() error {
		failed, err := s.fillPrices(ctx, q, pools, out)
		if failed != "" {
			end.failed = append(end.failed, failed)
		}
		pools = nil
		return err
	}
	err := s.walk(ctx, q, func(l *look) error {
		for _, h := range l.holes {
			if !h.fillable() {
				end.leftOpen++
			}
		}
		switch {
		case l.reports != nil:
			return s.fillReports(ctx, l, out)
		case l.prices == nil:
			return nil
		case len(pools) > 0 && pools[0].prices.pool.Region != l.prices.pool.Region:
			if err := flush(); err != nil {
				return err
			}
		}
		pools = append(pools, l)
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		err = out.flush()
	}
	return end, err
}

// edgesAtOnce bounds how many reports one query is asked for.
const edgesAtOnce = 2000

func (s *Server) fillReports(ctx context.Context, l *look, out *pages) error {
	holes := slices.DeleteFunc(slices.Clone(l.holes), func(h hole) bool { return !h.fillable() })
	for some := range slices.Chunk(holes, edgesAtOnce) {
		var edges []int64
		for _, h := range some {
			edges = append(edges, h.Before, h.After)
		}
		slices.Sort(edges)
		rows, err := s.Store.ReportsAt(ctx, l.reports.cluster.ID, slices.Compact(edges))
		if err != nil {
			return away(err)
		}
		at := map[int64]series.Point{}
		for _, p := range points(rows) {
			at[p.At] = p
		}
		for _, h := range some {
			before, after := at[h.Before], at[h.After]
			if before.Values == nil || after.Values == nil {
				continue // dropped by age since it was looked at
			}
			filled := series.Fill(h.Gap, h.slots, before, after, nil, l.reports.usual)
			if err := out.reports(l, h, filled); err != nil {
				return err
			}
		}
	}
	return nil
}

// typesAtOnce bounds one question to EC2.
const typesAtOnce = 50

// errPage marks what went wrong with taking a page rather than with asking for it.
var errPage = errors.New("sending a page")

// fillPrices asks EC2 for a region's prices. A region that does not answer is told of
// and does not end the rest.
func (s *Server) fillPrices(ctx context.Context, q *question, pools []*look, out *pages) (failed string, err error) {
	wanted, types, since := map[string]*look{}, map[string]bool{}, q.end
	for _, l := range pools {
		for _, h := range l.holes {
			if h.fillable() {
				wanted[l.prices.pool.Zone+"/"+l.prices.pool.Type] = l
				types[l.prices.pool.Type] = true
				since = earlier(since, time.UnixMilli(h.Start))
			}
		}
	}
	if len(wanted) == 0 {
		return "", nil
	}
	region := pools[0].prices.pool.Region
	for some := range slices.Chunk(slices.Sorted(maps.Keys(types)), typesAtOnce) {
		err := s.History.SpotPrices(ctx, region, some, since, q.end, func(rows []*mlv1.SpotPriceRow) error {
			for _, row := range rows {
				if err := out.price(wanted[row.GetAvailabilityZone()+"/"+row.GetInstanceType()], row, q.end); err != nil {
					return errors.Join(errPage, err)
				}
			}
			return nil
		})
		switch {
		case err == nil:
		case errors.Is(err, errPage), ctx.Err() != nil:
			return "", err
		default:
			s.Log.WarnContext(ctx, "asking for past spot prices", "region", region, "error", err)
			return "spot_prices/" + region, nil
		}
	}
	return "", nil
}
