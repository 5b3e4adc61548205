//! The double as a program, to try a first purchase without a Stripe account.

use anyhow::Context;
use clap::Parser;
use gollem_stripe_double::{Deliveries, Double, Options};
use std::io::Write;
use std::net::SocketAddr;

/// A double of Stripe's API: keeps books, signs webhooks, moves no money.
#[derive(Debug, Parser)]
#[command(name = "stripe-double", after_help = CONTROLS)]
struct Arguments {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:12111")]
    listen: SocketAddr,
    /// The API key that clients use
    #[arg(long, default_value = "sk_test_double")]
    key: String,
    /// Where to deliver events, such as http://127.0.0.1:8080/stripe
    #[arg(long)]
    webhook: Option<String>,
    /// The secret that signs them; may be given more than once
    #[arg(long, default_value = "whsec_double")]
    secret: Vec<String>,
    /// Where ids and chances come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const CONTROLS: &str = "What customers and banks do, by `curl -X POST`:
  /double/pay/{pi}                  the customer pays
  /double/decline/{pi}              the customer's card is declined
  /double/refund/{pi}?cents=        somebody refunds it, all unless cents are given
  /double/refund/{re}/failed        the refund comes back
  /double/dispute/{pi}?cents=       the customer's bank takes it back
  /double/dispute/{dp}/won|lost     and decides
  /double/onboard/{acct}            a provider is onboarded
  /double/disable/{acct}            Stripe has questions to it
  /double/payout/{po}/paid|failed   its bank has the money, or sends it back
  /double/reverse/{tr}?cents=       a transfer is taken back
  /double/topup?cents=              the platform puts in money of its own";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let double = Double::start(Options {
        listen: arguments.listen,
        key: arguments.key,
        webhook_secrets: arguments.secret,
        seed: arguments.seed,
        deliveries: Deliveries::prompt(),
        ..Options::default()
    })
    .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    double.set_webhook(arguments.webhook);
    writeln!(std::io::stdout(), "a double of Stripe's API listens on {}", double.url())?;
    tokio::signal::ctrl_c().await?;
    double.stop().await;
    Ok(())
}
