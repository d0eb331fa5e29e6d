package market

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// History is what EC2 can still tell of spot prices: the last 90 days.
type History struct {
	Market  *Market
	Account *Account
}

// historyAttempts of one page: EC2 throttles those who list much, and each further
// attempt waits longer.
const historyAttempts = 8

// Available says whether there are credentials to ask with.
func (h *History) Available(ctx context.Context) bool {
	_, err := h.Account.config(ctx)
	return err == nil
}

// SpotPrices of the types in a region between two moments, page by page, with the
// price in force at the first. Pages with implausible prices end it.
func (h *History) SpotPrices(ctx context.Context, region string, names []string, since, until time.Time, page func([]*mlv1.SpotPriceRow) error) error {
	client, err := h.Account.ec2(ctx, region)
	if err != nil {
		return err
	}
	input := &ec2.DescribeSpotPriceHistoryInput{
		StartTime: aws.Time(since), EndTime: aws.Time(until), ProductDescriptions: []string{linux},
	}
	for _, name := range names {
		input.InstanceTypes = append(input.InstanceTypes, types.InstanceType(name))
	}
	pages := ec2.NewDescribeSpotPriceHistoryPaginator(client, input,
		func(o *ec2.DescribeSpotPriceHistoryPaginatorOptions) { o.StopOnDuplicateToken = true })
	for n := 0; pages.HasMorePages() && n < mostPages; n++ {
		answer, err := pages.NextPage(ctx, func(o *ec2.Options) { o.RetryMaxAttempts = historyAttempts })
		if err != nil {
			return fmt.Errorf("listing past spot prices of %s: %w", region, err)
		}
		rows, err := h.rows(region, answer.SpotPriceHistory)
		if err != nil {
			return err
		}
		if err := page(rows); err != nil {
			return err
		}
	}
	return nil
}

func (h *History) rows(region string, entries []types.SpotPrice) ([]*mlv1.SpotPriceRow, error) {
	now := h.Market.Snapshot()
	var o odd
	var rows []*mlv1.SpotPriceRow
	for _, entry := range entries {
		name, zone, price, ok := spotPrice(entry)
		if !ok || entry.Timestamp == nil {
			continue
		}
		if onDemand := now.OnDemand(region, name); onDemand > 0 {
			o.count(price < leastSpotShare*onDemand || price > mostSpotShare*onDemand)
		}
		rows = append(rows, &mlv1.SpotPriceRow{
			Region: region, AvailabilityZone: zone, InstanceType: name, At: timestamppb.New(*entry.Timestamp), Price: price,
		})
	}
	if o.tooMany() {
		return nil, implausible("%d of %d past spot prices are out of proportion to on-demand prices", o.off, o.all)
	}
	return rows, nil
}
