package market

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/pricing"
	pricingtypes "github.com/aws/aws-sdk-go-v2/service/pricing/types"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
)

// This file and history.go ask AWS, and only for prices and types.

const (
	linux = "Linux/UNIX"
	// mostPages of one listing, so that an answer that never ends does. The longest is a
	// quarter's prices of fifty types.
	mostPages = 2000
)

// spotPrices now, of every type and zone of a region.
func (r *Refresher) spotPrices(ctx context.Context, region string) (func(*Snapshot), error) {
	client, err := r.Account.ec2(ctx, region)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	// A start of now gives the prices in force and no history.
	pages := ec2.NewDescribeSpotPriceHistoryPaginator(client, &ec2.DescribeSpotPriceHistoryInput{
		StartTime: aws.Time(now), ProductDescriptions: []string{linux},
	}, func(o *ec2.DescribeSpotPriceHistoryPaginatorOptions) { o.StopOnDuplicateToken = true })
	prices := map[string]map[string]float64{}
	for n := 0; pages.HasMorePages() && n < mostPages; n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing spot prices: %w", err)
		}
		for _, p := range page.SpotPriceHistory {
			name, zone, price, ok := spotPrice(p)
			if !ok {
				continue
			}
			if prices[name] == nil {
				prices[name] = map[string]float64{}
			}
			prices[name][zone] = price
		}
	}
	if len(prices) == 0 {
		return nil, errors.New("no spot prices came")
	}
	if err := plausibleSpot(r.Market.Snapshot(), region, prices); err != nil {
		return nil, err
	}
	return withSpot(region, prices, now), nil
}

// spotPrice reads one entry; not ok if it has no price that can be one.
func spotPrice(p types.SpotPrice) (name, zone string, price float64, ok bool) {
	name, zone = string(p.InstanceType), aws.ToString(p.AvailabilityZone)
	price, err := strconv.ParseFloat(aws.ToString(p.SpotPrice), 64)
	return name, zone, price, err == nil && usable(price) && typeName.MatchString(name) && zoneName.MatchString(zone)
}

// instanceTypes that a region offers.
func (r *Refresher) instanceTypes(ctx context.Context, region string) (func(*Snapshot), error) {
	client, err := r.Account.ec2(ctx, region)
	if err != nil {
		return nil, err
	}
	pages := ec2.NewDescribeInstanceTypesPaginator(client, &ec2.DescribeInstanceTypesInput{},
		func(o *ec2.DescribeInstanceTypesPaginatorOptions) { o.StopOnDuplicateToken = true })
	found := map[string]catalogue.Type{}
	for n := 0; pages.HasMorePages() && n < mostPages; n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing instance types: %w", err)
		}
		for _, info := range page.InstanceTypes {
			if t, ok := describe(info); ok {
				found[t.Name] = t
			}
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no instance types came")
	}
	if err := plausibleTypes(r.Market.Snapshot(), region, found); err != nil {
		return nil, err
	}
	return withTypes(found), nil
}

// describe a type; not ok for those that cannot be Linux nodes.
func describe(info types.InstanceTypeInfo) (catalogue.Type, bool) {
	name := string(info.InstanceType)
	family, _, _ := strings.Cut(name, ".")
	t := catalogue.Type{
		Name: name, Family: family, Category: category(family), Current: aws.ToBool(info.CurrentGeneration),
		Burstable: aws.ToBool(info.BurstablePerformanceSupported), BareMetal: aws.ToBool(info.BareMetal),
	}
	if info.VCpuInfo != nil {
		t.VCPU = int(aws.ToInt32(info.VCpuInfo.DefaultVCpus))
	}
	if info.MemoryInfo != nil {
		t.MemoryMiB = aws.ToInt64(info.MemoryInfo.SizeInMiB)
	}
	if n := info.NetworkInfo; n != nil {
		t.MaxPods = int(aws.ToInt32(n.MaximumNetworkInterfaces)*(aws.ToInt32(n.Ipv4AddressesPerInterface)-1)) + 2
	}
	t.Architecture = architecture(info.ProcessorInfo)
	if info.GpuInfo != nil {
		for _, gpu := range info.GpuInfo.Gpus {
			t.GPUs += int(aws.ToInt32(gpu.Count))
			t.GPU = aws.ToString(gpu.Manufacturer) + " " + aws.ToString(gpu.Name)
		}
	}
	return t, typeName.MatchString(name) && t.Architecture != "" && t.VCPU > 0 && t.MemoryMiB > 0 && t.MaxPods > 2
}

// architecture in Kubernetes' words; a type has only one that it can run 64-bit Linux on.
func architecture(info *types.ProcessorInfo) string {
	switch {
	case info == nil:
		return ""
	case slices.Contains(info.SupportedArchitectures, types.ArchitectureTypeArm64):
		return "arm64"
	case slices.Contains(info.SupportedArchitectures, types.ArchitectureTypeX8664):
		return "amd64"
	}
	return ""
}

// category by the first letter of a family, for types the catalogue has not got.
func category(family string) string {
	switch {
	case strings.HasPrefix(family, "hpc"):
		return "High performance computing"
	case strings.HasPrefix(family, "inf"), strings.HasPrefix(family, "trn"):
		return "Machine Learning ASIC Instances"
	case family == "":
		return ""
	}
	return map[byte]string{
		'm': "General purpose", 't': "General purpose", 'a': "General purpose", 'c': "Compute optimized",
		'r': "Memory optimized", 'x': "Memory optimized", 'z': "Memory optimized", 'u': "Memory optimized",
		'i': "Storage optimized", 'd': "Storage optimized", 'h': "Storage optimized", 'g': "GPU instance", 'p': "GPU instance",
	}[family[0]]
}

// onDemandPrices of a region for Linux on shared hardware.
func (r *Refresher) onDemandPrices(ctx context.Context, region string) (func(*Snapshot), error) {
	client, err := r.Account.pricing(ctx)
	if err != nil {
		return nil, err
	}
	input := &pricing.GetProductsInput{ServiceCode: aws.String("AmazonEC2")}
	for field, value := range map[string]string{
		"regionCode": region, "operatingSystem": "Linux", "preInstalledSw": "NA", "tenancy": "Shared", "capacitystatus": "Used",
		"marketoption": "OnDemand",
	} {
		input.Filters = append(input.Filters, pricingtypes.Filter{
			Field: aws.String(field), Value: aws.String(value), Type: pricingtypes.FilterTypeTermMatch,
		})
	}
	pages := pricing.NewGetProductsPaginator(client, input,
		func(o *pricing.GetProductsPaginatorOptions) { o.StopOnDuplicateToken = true })
	prices := map[string]float64{}
	for n := 0; pages.HasMorePages() && n < mostPages; n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing on-demand prices: %w", err)
		}
		for _, text := range page.PriceList {
			if name, price := onDemandPrice(text); price > 0 {
				prices[name] = price
			}
		}
	}
	if len(prices) == 0 {
		return nil, errors.New("no on-demand prices came")
	}
	if err := plausibleOnDemand(r.Market.Snapshot(), region, prices); err != nil {
		return nil, err
	}
	return withOnDemand(region, prices, time.Now()), nil
}

// onDemandPrice reads one entry of the price list; 0 if it has no hourly price.
func onDemandPrice(text string) (name string, price float64) {
	var entry struct {
		Product struct {
			Attributes struct {
				InstanceType string `json:"instanceType"`
			} `json:"attributes"`
		} `json:"product"`
		Terms struct {
			OnDemand map[string]struct {
				PriceDimensions map[string]struct {
					Unit         string            `json:"unit"`
					PricePerUnit map[string]string `json:"pricePerUnit"`
				} `json:"priceDimensions"`
			} `json:"OnDemand"`
		} `json:"terms"`
	}
	if err := json.Unmarshal([]byte(text), &entry); err != nil {
		return "", 0
	}
	for _, term := range entry.Terms.OnDemand {
		for _, dimension := range term.PriceDimensions {
			usd, err := strconv.ParseFloat(dimension.PricePerUnit["USD"], 64)
			if err == nil && dimension.Unit == "Hrs" && usable(usd) {
				price = max(price, usd) // of several, the same one whatever their order
			}
		}
	}
	if name = entry.Product.Attributes.InstanceType; !typeName.MatchString(name) {
		return "", 0
	}
	return name, price
}
