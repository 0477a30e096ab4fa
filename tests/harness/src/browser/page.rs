//! Chooses the user's next step on a page: click the button with their name, fill in the form or follow the
//! link.

use url::Url;

use super::Browser;

/// The next request of the browser.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Open(Url),
    Submit(Url, Vec<(String, String)>),
}

/// Returns the next step on `page`, or `None` on the last page.
pub(super) fn next(at: &Url, page: &str, browser: &Browser) -> Option<Next> {
    let tags = tags(page);
    if let Some(refresh) = tags.iter().find(|tag| tag.name == "meta" && tag.is("http-equiv", "refresh")) {
        let content = refresh.attribute("content")?;
        let (_, target) = content.split_once("url=")?;
        return at.join(target).ok().map(Next::Open);
    }

    let forms = forms(&tags);
    let wanted = if browser.cancel { ["cancel", "deny"].to_vec() } else { vec![browser.user.as_str()] };
    for form in &forms {
        if let Some(button) =
            form.buttons.iter().find(|button| wanted.iter().any(|word| button.mentions(word)))
        {
            let mut fields = form.fields.clone();
            fields.extend(
                button.attribute("name").map(|name| (name, button.attribute("value").unwrap_or_default())),
            );
            return form.submit(at, fields);
        }
    }
    if let Some(form) = forms.iter().find(|form| form.password.is_some()) {
        let mut fields = form.fields.clone();
        fields.extend(form.password.clone().map(|name| (name, "password".to_owned())));
        fields.extend(form.user.clone().map(|name| (name, browser.user.clone())));
        return form.submit(at, fields);
    }
    let link = tags.iter().find(|tag| tag.name == "a" && wanted.iter().any(|word| tag.mentions(word)))?;
    at.join(&link.attribute("href")?).ok().map(Next::Open)
}

/// A form, with the fields that it always submits.
#[derive(Default)]
struct Form<'a> {
    action: String,
    by_post: bool,
    fields: Vec<(String, String)>,
    /// The names of the fields for the user's name and password.
    user: Option<String>,
    password: Option<String>,
    buttons: Vec<&'a Tag>,
}

/// An opening tag and the text after it.
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
}

impl Form<'_> {
    fn submit(&self, at: &Url, fields: Vec<(String, String)>) -> Option<Next> {
        let mut url = if self.action.is_empty() { at.clone() } else { at.join(&self.action).ok()? };
        if self.by_post {
            return Some(Next::Submit(url, fields));
        }
        url.query_pairs_mut().clear().extend_pairs(fields);
        Some(Next::Open(url))
    }
}

impl Tag {
    fn attribute(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|(attribute, _)| attribute == name).map(|(_, value)| value.clone())
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.attribute(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
    }

    /// Returns `true` if the name, value or text of a button or link contains the word.
    fn mentions(&self, word: &str) -> bool {
        [self.attribute("name"), self.attribute("value"), Some(self.text.clone())]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(&word.to_lowercase()))
    }
}

fn forms(tags: &[Tag]) -> Vec<Form<'_>> {
    let mut forms: Vec<Form<'_>> = Vec::new();
    for tag in tags {
        if tag.name == "form" {
            let action = tag.attribute("action").unwrap_or_default();
            forms.push(Form { action, by_post: tag.is("method", "post"), ..Form::default() });
        }
        let Some(form) = forms.last_mut() else { continue };
        let name = tag.attribute("name");
        match (tag.name.as_str(), tag.attribute("type").unwrap_or_default().as_str()) {
            ("button", _) | ("input", "submit") => form.buttons.push(tag),
            ("input", "password") => form.password = name,
            ("input", "hidden") => {
                form.fields.extend(name.map(|name| (name, tag.attribute("value").unwrap_or_default())));
            }
            ("input", "" | "text" | "email") => form.user = name,
            _ => {}
        }
    }
    forms
}

fn tags(page: &str) -> Vec<Tag> {
    let opening = page.split('<').skip(1).filter(|rest| !rest.starts_with(['/', '!']));
    opening
        .map(|rest| {
            let (inside, text) = rest.split_once('>').unwrap_or((rest, ""));
            let end = inside.find(|character: char| character.is_whitespace()).unwrap_or(inside.len());
            let (name, attributes) = inside.split_at(end);
            Tag {
                name: name.to_lowercase(),
                attributes: attributes_of(attributes),
                text: text.trim().to_owned(),
            }
        })
        .collect()
}

fn attributes_of(mut text: &str) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    loop {
        text = text.trim_start_matches(|character: char| character.is_whitespace() || character == '/');
        if text.is_empty() {
            return attributes;
        }
        let end =
            text.find(|character: char| character.is_whitespace() || character == '=').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let (value, rest) = match rest.strip_prefix('=') {
            None => ("", rest),
            Some(rest) => match rest.chars().next().filter(|quote| matches!(quote, '"' | '\'')) {
                Some(quote) => rest.get(1..).and_then(|rest| rest.split_once(quote)).unwrap_or((rest, "")),
                None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
            },
        };
        attributes.push((name.to_lowercase(), unescape(value)));
        text = rest;
    }
}

fn unescape(text: &str) -> String {
    let named =
        [("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&#x27;", "'"), ("&lt;", "<"), ("&gt;", ">")];
    named
        .iter()
        .fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Url {
        Url::parse("https://login.test/a/page?x=1").expect("a URL")
    }

    fn alice() -> Browser {
        Browser { user: "alice".to_owned(), ..Browser::default() }
    }

    #[test]
    fn form_with_password_is_filled_in_and_submitted() {
        let page = "<form method=post><input name=username value=\"\"><input name=password type=password>\
                    <button name=go>Sign in</button><button name=deny value=1>Cancel</button></form>";
        let fields = |fields: &[(&str, &str)]| {
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };

        let signs_in = next(&at(), page, &alice());
        let cancels = next(&at(), page, &Browser { cancel: true, ..alice() });

        assert_eq!(
            signs_in,
            Some(Next::Submit(at(), fields(&[("password", "password"), ("username", "alice")])))
        );
        assert_eq!(cancels, Some(Next::Submit(at(), fields(&[("deny", "1")]))));
    }

    #[test]
    fn button_or_link_with_user_name_is_clicked() {
        let buttons = "<form action='/in' method='POST'><input type=hidden name=r value='a&amp;b'>\
                       <button name=user value=bob>Bob</button><button name=user value=alice>Alice</button></form>";
        let links = "<a href=/x?u=bob>bob</a> <a href=/x?u=alice>Alice</a>";

        let Some(Next::Submit(url, fields)) = next(&at(), buttons, &alice()) else {
            panic!("no form was sent")
        };
        assert_eq!(url.as_str(), "https://login.test/in");
        assert_eq!(fields, [("r".to_owned(), "a&b".to_owned()), ("user".to_owned(), "alice".to_owned())]);
        let opened = next(&at(), links, &alice());
        assert_eq!(opened, Some(Next::Open(Url::parse("https://login.test/x?u=alice").expect("a URL"))));
    }

    #[test]
    fn page_without_next_step_is_the_last() {
        assert_eq!(
            next(&at(), "<!doctype html><title>Done</title><p>Logged in. Close this tab.", &alice()),
            None
        );
    }
}
