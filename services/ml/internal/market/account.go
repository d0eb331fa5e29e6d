package market

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/pricing"
)

var errNoCredentials = errors.New("no AWS credentials were found")

const (
	// credentialsWithin bounds the search: off AWS the metadata service never answers.
	credentialsWithin = 10 * time.Second
	// lookAgain for credentials no sooner: many ask, and the search takes its time.
	lookAgain = 30 * time.Second
	// pricingRegion is one of the few with a pricing endpoint; it knows all regions.
	pricingRegion = "us-east-1"
	// answerWithin bounds one HTTP call, answerLimit what it may bring.
	answerWithin = 30 * time.Second
	answerLimit  = 64 << 20
)

// Account is what AWS is asked with: credentials as the AWS SDK finds them, looked for
// until they are there.
type Account struct {
	// Endpoint replaces every AWS endpoint, for tests and the lab.
	Endpoint string
	Log      *slog.Logger

	mu     sync.Mutex
	cfg    *aws.Config
	looked time.Time
	told   bool
}

// config with credentials, or errNoCredentials.
func (a *Account) config(ctx context.Context) (aws.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cfg != nil {
		return *a.cfg, nil
	}
	if time.Since(a.looked) < lookAgain {
		return aws.Config{}, errNoCredentials
	}
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(answerWithin)),
		// Slows down by itself when EC2 says that it is asked too much.
		config.WithRetryMode(aws.RetryModeAdaptive))
	if err != nil {
		return aws.Config{}, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	look, cancel := context.WithTimeout(ctx, credentialsWithin)
	defer cancel()
	if _, err := cfg.Credentials.Retrieve(look); err != nil {
		if !a.told {
			a.Log.InfoContext(ctx, "no AWS credentials: prices stay those of the embedded snapshot until there are some")
		}
		a.looked, a.told = time.Now(), true
		return aws.Config{}, errors.Join(errNoCredentials, err)
	}
	cfg.HTTPClient = bounded{cfg.HTTPClient}
	a.cfg = &cfg
	return cfg, nil
}

func (a *Account) ec2(ctx context.Context, region string) (*ec2.Client, error) {
	cfg, err := a.config(ctx)
	if err != nil {
		return nil, err
	}
	return ec2.NewFromConfig(cfg, func(o *ec2.Options) {
		o.Region = region
		if a.Endpoint != "" {
			o.BaseEndpoint = aws.String(a.Endpoint)
		}
	}), nil
}

func (a *Account) pricing(ctx context.Context) (*pricing.Client, error) {
	cfg, err := a.config(ctx)
	if err != nil {
		return nil, err
	}
	return pricing.NewFromConfig(cfg, func(o *pricing.Options) {
		o.Region = pricingRegion
		if a.Endpoint != "" {
			o.BaseEndpoint = aws.String(a.Endpoint)
		}
	}), nil
}

// bounded cuts answers off that are larger than any of AWS's.
type bounded struct{ next aws.HTTPClient }

// Do limits the answer's body.
func (b bounded) Do(req *http.Request) (*http.Response, error) {
	resp, err := b.next.Do(req)
	if err != nil {
		return resp, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, answerLimit), resp.Body}
	return resp, nil
}
