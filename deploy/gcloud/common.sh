# Functions of the scripts beside this file, which read it. docs/deploy-cloud-run.md explains each step.
# shellcheck shell=bash
set -euo pipefail
: "${PROJECT:?name the Google Cloud project: PROJECT=my-project $0}"
REGION=${REGION:-europe-west1}
NETWORK=${NETWORK:-spansieve} SUBNET=${SUBNET:-spansieve}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
ENDPOINT_REPOSITORY=$REGION-docker.pkg.dev/$PROJECT/spansieve
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

google() { gcloud --project="$PROJECT" --quiet "$@"; }

# ensure WORDS...: makes what is missing. The words stand for `gcloud GROUP create NAME FLAGS`; only flags that say where it is
# (--region, --location) are for `describe`, too.
ensure() {
    local words=() word
    for word in "$@"; do
        case $word in
            create) words+=(describe) ;;
            --region=* | --location=*) words+=("$word") ;;
            --*) ;;
            *) words+=("$word") ;;
        esac
    done
    google "${words[@]}" >/dev/null 2>&1 || google "$@"
}

email_of() { echo "$1@$PROJECT.iam.gserviceaccount.com"; }

# service_account NAME TEXT: an account without any role. It gets only those that a script names.
service_account() {
    google iam service-accounts describe "$(email_of "$1")" >/dev/null 2>&1 ||
        google iam service-accounts create "$1" --display-name="$2"
}

project_role() { # ACCOUNT ROLE
    google projects add-iam-policy-binding "$PROJECT" --member="serviceAccount:$(email_of "$1")" --role="$2" --condition=None >/dev/null
}

may_call() { # SERVICE MEMBER
    google run services add-iam-policy-binding "$1" --region="$REGION" --member="$2" --role=roles/run.invoker >/dev/null
}

# image NAME FOLDER FLAGS...: builds and pushes it, and prints its name with the digest, so that what runs is what was pushed.
image() {
    local tag digest
    tag=$ENDPOINT_REPOSITORY/$1:$(git -C "$ROOT" rev-parse --short=12 HEAD 2>/dev/null || echo local)
    docker build --platform linux/amd64 --tag "$tag" "${@:3}" "$2" >&2
    docker push "$tag" >&2
    digest=$(google artifacts docker images describe "$tag" --format='value(image_summary.digest)')
    echo "$ENDPOINT_REPOSITORY/$1@$digest"
}

# repository: the APIs that every script needs, and the place for images.
repository() {
    google services enable run.googleapis.com cloudtrace.googleapis.com secretmanager.googleapis.com artifactregistry.googleapis.com \
        iam.googleapis.com compute.googleapis.com
    ensure artifacts repositories create spansieve --repository-format=docker --location="$REGION"
}

# The network that services send through: requests to *.run.app leave through it, and come in as internal ones. Direct VPC egress
# wants a /26 or larger: https://cloud.google.com/run/docs/configuring/vpc-direct-vpc
network() {
    ensure compute networks create "$NETWORK" --subnet-mode=custom
    ensure compute networks subnets create "$SUBNET" --network="$NETWORK" --range="${RANGE:-10.70.0.0/24}" --region="$REGION"
    google compute networks subnets update "$SUBNET" --region="$REGION" --enable-private-ip-google-access
}

# url_of SERVICE: its address, known before it exists: https://cloud.google.com/run/docs/triggering/https-request#deterministic
url_of() {
    if [[ -z "${NUMBER:-}" ]]; then NUMBER=$(google projects describe "$PROJECT" --format='value(projectNumber)'); fi
    echo "https://$1-$NUMBER.$REGION.run.app"
}

# cloud_config FILE: the configuration of an example, with the policies and rules as they were tested, but for Cloud Run.
cloud_config() {
    # shellcheck disable=SC2016 # Spansieve reads the variable, not the shell.
    sed -e 's|^  listen: \[.*|  listen: ["0.0.0.0:${env:PORT:-8080}"]|' \
        -e 's|^  endpoint: embedded|  endpoint: https://cloudtrace.googleapis.com|' \
        -e '/^  cors: /d; /^  embedded: /d; /^  project: local-project/d; /^  batch: /d' \
        -e 's|^memory: .*|memory: {limit: 70%}|' "$1"
}

# What the services of the examples have in common: their spans go to Spansieve, all of them. `^@^` makes @ the separator, because
# values have commas (gcloud topic escaping).
telemetry_variables() { # PROTOCOL
    echo "^@^OTEL_EXPORTER_OTLP_ENDPOINT=$(url_of spansieve):443@OTEL_EXPORTER_OTLP_PROTOCOL=$1@OTEL_TRACES_SAMPLER=always_on@OTEL_METRICS_EXPORTER=none@OTEL_LOGS_EXPORTER=none@OTEL_PROPAGATORS=tracecontext,baggage,gcp_trace@OTEL_BSP_SCHEDULE_DELAY=1000@GOOGLE_CLOUD_PROJECT=$PROJECT"
}

# service NAME IMAGE VARIABLES FLAGS...: a service that runs as the account of the same name.
service() {
    local name=$1 image=$2 variables=$3
    shift 3
    google run deploy "$name" --image="$image" --region="$REGION" --service-account="$(email_of "$name")" \
        --no-allow-unauthenticated --set-env-vars="$variables" --network="$NETWORK" --subnet="$SUBNET" --vpc-egress=all-traffic \
        --no-cpu-throttling --memory=512Mi --max-instances=3 "$@"
}
