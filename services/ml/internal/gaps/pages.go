package gaps

import (
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/gaps/series"
)

// pageRows is how many rows a message carries: some 50 KB, and one transaction of
// central's.
const pageRows = 500

// pages collects rows into messages.
type pages struct {
	to   send
	page *mlv1.ListFilledRowsResponse
	rows int
}

func (p *pages) reports(l *look, h hole, filled []series.Point) error {
	for len(filled) > 0 {
		gap := p.gap(&mlv1.FilledGap{
			Series: l.cover.GetSeries(), Start: stamp(h.Start), Method: h.method,
			ClusterId: l.reports.cluster.ID.String(), StepSeconds: seconds(h.Step),
		})
		n := min(len(filled), pageRows-p.rows)
		for _, point := range filled[:n] {
			gap.Reports = append(gap.Reports, row(point))
		}
		filled = filled[n:]
		if err := p.count(n); err != nil {
			return err
		}
	}
	return nil
}

// price puts a row into the gap that it closes, if it is new and of a pool that was
// asked for.
func (p *pages) price(l *look, row *mlv1.SpotPriceRow, end time.Time) error {
	at := row.GetAt().AsTime()
	if l == nil || !at.Before(end) || l.prices.known[at.UnixMilli()] {
		return nil
	}
	l.prices.known[at.UnixMilli()] = true // a price on two pages is one
	for _, h := range l.holes {
		if h.fillable() && at.UnixMilli() < h.End {
			gap := p.gap(&mlv1.FilledGap{Series: l.cover.GetSeries(), Start: stamp(h.Start), Method: h.method})
			gap.SpotPrices = append(gap.SpotPrices, row)
			return p.count(1)
		}
	}
	return nil
}

// gap is the page's last one if it is the same.
func (p *pages) gap(g *mlv1.FilledGap) *mlv1.FilledGap {
	if p.page == nil {
		p.page = &mlv1.ListFilledRowsResponse{}
	}
	if n := len(p.page.Gaps); n > 0 {
		if last := p.page.Gaps[n-1]; last.GetSeries() == g.GetSeries() && last.GetStart().AsTime().Equal(g.GetStart().AsTime()) {
			return last
		}
	}
	p.page.Gaps = append(p.page.Gaps, g)
	return g
}

func (p *pages) count(rows int) error {
	p.rows += rows
	if p.rows < pageRows {
		return nil
	}
	return p.flush()
}

func (p *pages) flush() error {
	if p.page == nil {
		return nil
	}
	page := p.page
	p.page, p.rows = nil, 0
	return p.to(page)
}
