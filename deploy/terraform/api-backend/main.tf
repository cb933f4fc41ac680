# The API of examples/api-backend and its private backend, beside a Spansieve with the policies and rules of that example.
#   terraform init
#   terraform apply -var project=PROJECT -var region=REGION -var spansieve_image=IMAGE -var image=IMAGE -var caller=user:me@example.com
# The module foundation/ comes first; docs/deploy-cloud-run.md says how to make the images.

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.33, < 9.0"
    }
  }
}

variable "project" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Where everything runs."
  type        = string
}

variable "spansieve_image" {
  description = "The image of Spansieve, with its digest."
  type        = string
}

variable "image" {
  description = "The image of the API and its backend, with its digest."
  type        = string
}

variable "caller" {
  description = "Who may call the API from outside, such as user:me@example.com; empty: nobody."
  type        = string
  default     = ""
}

variable "network" {
  description = "The network for Direct VPC egress."
  type        = string
  default     = "spansieve"
}

variable "subnet" {
  description = "The subnet for Direct VPC egress."
  type        = string
  default     = "spansieve"
}

variable "gmp_sidecar_image" {
  description = "The image of the Managed Service for Prometheus sidecar; empty: no sidecar."
  type        = string
  default     = ""
}

module "config" {
  source = "../cloud-config"
  file   = "${path.module}/../../../examples/api-backend/spansieve.yaml"
}

module "spansieve" {
  source            = "../"
  project           = var.project
  region            = var.region
  image             = var.spansieve_image
  config_text       = module.config.text
  gmp_sidecar_image = var.gmp_sidecar_image
}

# The backend looks at the audience of each token, which is its own address. That address is known before the service exists:
# https://cloud.google.com/run/docs/triggering/https-request#deterministic
data "google_project" "this" {
  project_id = var.project
}

locals {
  backend_host = "shop-backend-${data.google_project.this.number}.${var.region}.run.app"
  detector     = { OTEL_EXPERIMENTAL_RESOURCE_DETECTORS = "gcp" } # it finds the name that the backend does not set
}

module "backend" {
  source    = "../service"
  project   = var.project
  region    = var.region
  network   = var.network
  subnet    = var.subnet
  endpoint  = module.spansieve.endpoint
  image     = var.image
  name      = "shop-backend"
  protocol  = "grpc"
  http2     = true
  callers   = { api = module.api.member }
  variables = merge(local.detector, { SERVICE = "backend", AUDIENCE = "https://${local.backend_host}" })
}

module "api" {
  source   = "../service"
  project  = var.project
  region   = var.region
  network  = var.network
  subnet   = var.subnet
  endpoint = module.spansieve.endpoint
  image    = var.image
  name     = "shop-api"
  protocol = "grpc"
  public   = true
  callers  = var.caller == "" ? {} : { user = var.caller }
  variables = merge(local.detector, {
    SERVICE           = "api"
    OTEL_SERVICE_NAME = "api"
    BACKEND_ADDRESS   = "${local.backend_host}:443"
    BACKEND_AUDIENCE  = "https://${local.backend_host}"
  })
}

output "uri" {
  description = "The address of the API."
  value       = module.api.uri
}
