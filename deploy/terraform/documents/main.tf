# The three services of examples/documents, beside a Spansieve with the policies of that example.
#   terraform init
#   terraform apply -var project=PROJECT -var region=REGION -var spansieve_image=IMAGE -var image=IMAGE -var caller=user:me@example.com
# The module foundation/ comes first; docs/deploy-cloud-run.md says how to make the images.

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
  description = "The image of the three services, with its digest."
  type        = string
}

variable "caller" {
  description = "Who may call the gateway from outside, such as user:me@example.com; empty: nobody."
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
  file   = "${path.module}/../../../examples/documents/spansieve.yaml"
}

module "spansieve" {
  source            = "../"
  project           = var.project
  region            = var.region
  image             = var.spansieve_image
  config_text       = module.config.text
  gmp_sidecar_image = var.gmp_sidecar_image
}

module "storage" {
  source    = "../service"
  project   = var.project
  region    = var.region
  network   = var.network
  subnet    = var.subnet
  endpoint  = module.spansieve.endpoint
  image     = var.image
  name      = "documents-storage"
  callers   = { processor = module.processor.member }
  variables = { SERVICE = "storage", OTEL_SERVICE_NAME = "storage" }
}

module "processor" {
  source    = "../service"
  project   = var.project
  region    = var.region
  network   = var.network
  subnet    = var.subnet
  endpoint  = module.spansieve.endpoint
  image     = var.image
  name      = "documents-processor"
  callers   = { gateway = module.gateway.member }
  variables = { SERVICE = "processor", OTEL_SERVICE_NAME = "processor", STORAGE_URL = module.storage.uri }
}

module "gateway" {
  source    = "../service"
  project   = var.project
  region    = var.region
  network   = var.network
  subnet    = var.subnet
  endpoint  = module.spansieve.endpoint
  image     = var.image
  name      = "documents-gateway"
  public    = true
  callers   = var.caller == "" ? {} : { user = var.caller }
  variables = { SERVICE = "gateway", OTEL_SERVICE_NAME = "gateway", PROCESSOR_URL = module.processor.uri }
}

output "uri" {
  description = "The address of the gateway."
  value       = module.gateway.uri
}
