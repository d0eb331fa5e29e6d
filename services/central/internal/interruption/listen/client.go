package listen

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// identity is who reads a queue.
type identity struct{ roleARN, externalID string }

// idleConnections is enough for one queue's pollers and batches.
const idleConnections = 32

func baseConfig(ctx context.Context, cfg Config) (aws.Config, error) {
	base, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(cfg.Region),
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = idleConnections
		})),
		// A queue in trouble has a pause of its own; the SDK only bridges a hiccup.
		awsconfig.WithRetryer(func() aws.Retryer {
			return retry.AddWithMaxBackoffDelay(retry.AddWithMaxAttempts(retry.NewStandard(), 3), time.Second)
		}))
	if err == nil && cfg.Endpoint != "" {
		base.BaseEndpoint = aws.String(cfg.Endpoint)
	}
	return base, err
}

var (
	// queueHost is where queues are. A URL is the customer's word: nothing of ours
	// is sent to another host.
	queueHost = regexp.MustCompile(`^(sqs(-fips)?\.[a-z0-9-]+|([a-z0-9-]+\.)?queue|vpce-[a-z0-9-]+\.sqs\.[a-z0-9-]+\.vpce)\.(amazonaws\.com(\.cn)?|api\.aws)$`)
	hostPart  = regexp.MustCompile(`(^|\.)([a-z]{2,4}(-[a-z]+){1,3}-\d{1,2})\.`)

	errHost = errors.New("the queue's URL is not that of an SQS queue: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME")
)

// connect makes a client for the queue's host, or for the endpoint that stands in
// for AWS, and says which region the queue is in.
func (l *Listener) connect(q Queue) (client *sqs.Client, region string, err error) {
	at, err := url.Parse(q.URL)
	if err != nil {
		return nil, "", errHost // what Parse says may hold what was in the URL
	}
	cfg := l.base.Copy()
	if q.Region != "" {
		cfg.Region = q.Region
	}
	if named := hostPart.FindStringSubmatch(at.Host); named != nil {
		cfg.Region = named[2]
	}
	if l.cfg.Endpoint == "" {
		if at.Scheme != "https" || at.User != nil || !queueHost.MatchString(at.Host) {
			return nil, "", errHost
		}
	}
	if q.RoleARN != "" {
		cfg.Credentials = l.assume(cfg, identity{q.RoleARN, q.ExternalID})
	}
	client = sqs.NewFromConfig(cfg, func(o *sqs.Options) {
		if l.cfg.Endpoint == "" {
			o.BaseEndpoint = aws.String("https://" + at.Host)
		}
	})
	return client, cfg.Region, nil
}

// assume keeps one set of credentials for each role, which the SDK renews.
func (l *Listener) assume(cfg aws.Config, who identity) aws.CredentialsProvider {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.credentials[who]; known != nil {
		return known
	}
	role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), who.roleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "cloudoptim"
		o.Duration = time.Hour
		if who.externalID != "" {
			o.ExternalID = aws.String(who.externalID)
		}
	})
	l.credentials[who] = aws.NewCredentialsCache(role, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 5 * time.Minute })
	return l.credentials[who]
}

// forget drops the credentials of roles that no queue needs any more.
func (l *Listener) forget(wanted map[string]Queue) {
	needed := map[identity]bool{}
	for _, q := range wanted {
		needed[identity{q.RoleARN, q.ExternalID}] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for who := range l.credentials {
		if !needed[who] {
			delete(l.credentials, who)
		}
	}
}
