//! `/v1/completions`: a text to go on with. It passes through; this counts what it asks for.

use super::{ApiError, Fields};
use serde_json::Value;

/// Most prompts in one request.
const PROMPTS_MAX: u64 = 128;

/// How many texts are to be gone on with, each of which is answered: a prompt is text, or the numbers of its tokens.
pub(super) fn prompts(fields: &Fields) -> Result<u64, ApiError> {
    let is_tokens = |prompt: &Value| prompt.as_array().is_some_and(|tokens| tokens.iter().all(Value::is_u64));
    let count = match fields.get("prompt") {
        Some(Value::String(_)) => Some(1),
        Some(Value::Array(prompts)) if prompts.is_empty() => None,
        Some(prompt) if is_tokens(prompt) => Some(1),
        Some(Value::Array(prompts)) => {
            let sound = prompts.iter().all(|prompt| prompt.is_string() || is_tokens(prompt));
            sound.then_some(prompts.len() as u64)
        }
        _ => None,
    };
    count.filter(|count| *count <= PROMPTS_MAX).ok_or_else(|| {
        let message = format!("prompt must be text, or a list of 1 to {PROMPTS_MAX} of them, or of token numbers");
        ApiError::invalid("prompt", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_prompt_is_counted() {
        let count = |prompt: Value| {
            let fields = [("prompt".to_owned(), prompt)].into_iter().collect();
            prompts(&fields).map_err(|error| error.param)
        };
        assert_eq!(count(json!("one")), Ok(1));
        assert_eq!(count(json!([1, 2, 3])), Ok(1), "three tokens of one");
        assert_eq!(count(json!(["one", "two"])), Ok(2));
        assert_eq!(count(json!([[1, 2], [3], "four"])), Ok(3));
        assert_eq!(count(json!(vec!["x"; 128])), Ok(128));
        for wrong in
            [json!(null), json!(7), json!([]), json!([1.5]), json!([[["deep"]]]), json!({}), json!(vec!["x"; 129])]
        {
            assert_eq!(count(wrong.clone()), Err(Some("prompt".to_owned())), "{wrong}");
        }
        assert!(prompts(&Fields::new()).is_err());
    }
}
