// SPDX-License-Identifier: MPL-2.0

//! What kind of character it is, as far as cutting text into words asks.

/// The part that a character plays in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Space,
    /// Belongs to the character before it: combining marks, joiners, variation selectors.
    Extend,
    /// A script that writes no spaces between words.
    Unspaced,
    /// Belongs to the word before it.
    Closing,
    /// Belongs to the word after it.
    Opening,
    /// A straight quotation mark: opening and closing in turn.
    Quote,
    /// Dash: closes the word before it.
    Dash,
    /// Letters and digits of scripts with spaces, symbols, emoji.
    Other,
}

/// The character as it enters words; `None` where it does not.
///
/// All white space becomes a space. Control characters, byte order marks and replacement
/// characters (undecodable bytes) are left out; what orders right-to-left text stays.
pub fn clean(c: char) -> Option<char> {
    match c {
        c if c.is_whitespace() => Some(' '),
        // Fillers that show nothing.
        '\u{2800}' | '\u{3164}' | '\u{115F}' | '\u{1160}' | '\u{FFA0}' => Some(' '),
        '\u{FEFF}' | '\u{FFFD}' | '\u{FFFE}' | '\u{FFFF}' | '\u{FFF9}'..='\u{FFFB}' => None,
        '\u{200B}' | '\u{2060}'..='\u{2065}' | '\u{206A}'..='\u{206F}' => None,
        '\u{180E}' | '\u{E0001}' => None,
        c if c.is_control() => None,
        c => Some(c),
    }
}

/// The class of a [cleaned](clean) character.
pub fn class(c: char) -> Class {
    match c {
        ' ' => Class::Space,
        'a'..='z' | 'A'..='Z' | '0'..='9' => Class::Other,
        '.' | ',' | ';' | ':' | '!' | '?' | ')' | ']' | '}' | '\'' | '`' => Class::Closing,
        '(' | '[' | '{' | '¿' | '¡' => Class::Opening,
        '"' => Class::Quote,
        '-' => Class::Dash,
        c if c.is_ascii() => Class::Other,
        c if is_extend(c) => Class::Extend,
        // What orders right-to-left text never stands alone.
        '\u{200E}' | '\u{200F}' | '\u{061C}' | '\u{202C}' | '\u{2069}' | '\u{AD}' => Class::Closing,
        '\u{202A}' | '\u{202B}' | '\u{202D}' | '\u{202E}' | '\u{2066}'..='\u{2068}' => {
            Class::Opening
        }
        '«' | '“' | '‘' | '‹' | '„' | '‚' => Class::Opening,
        '»' | '”' | '’' | '›' | '…' | '‥' => Class::Closing,
        '\u{2010}'..='\u{2015}' => Class::Dash,
        '〈' | '《' | '「' | '『' | '【' | '〔' | '〖' | '〘' | '〚' | '〝' => {
            Class::Opening
        }
        '（' | '［' | '｛' | '｟' | '｢' => Class::Opening,
        '、' | '。' | '〉' | '》' | '」' | '』' | '】' | '〕' | '〗' | '〙' | '〛' | '〞'
        | '〟' => Class::Closing,
        '！' | '，' | '．' | '：' | '；' | '？' | '）' | '］' | '｝' | '｠' | '｡' | '｣' | '､'
        | '・' => Class::Closing,
        // Greek, Armenian, Hebrew, Arabic, Indic, Myanmar, Ethiopic, Khmer, Mongolian stops.
        '·'
        | '\u{0387}'
        | '\u{037E}'
        | '\u{0589}'
        | '\u{055C}'
        | '\u{055E}'
        | '\u{05BE}'
        | '\u{05C3}'
        | '\u{060C}'
        | '\u{061B}'
        | '\u{061F}'
        | '\u{06D4}'
        | '\u{0964}'
        | '\u{0965}'
        | '\u{0E2F}'
        | '\u{0E5A}'
        | '\u{0E5B}'
        | '\u{0F0B}'..='\u{0F0D}'
        | '\u{104A}'
        | '\u{104B}'
        | '\u{1361}'..='\u{1368}'
        | '\u{17D4}'..='\u{17D6}'
        | '\u{1802}'
        | '\u{1803}' => Class::Closing,
        c if is_unspaced(c) => Class::Unspaced,
        _ => Class::Other,
    }
}

/// Whether words of this character's script stand without spaces between them.
pub fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' // Thai, Lao
        | '\u{0F00}'..='\u{0FFF}' // Tibetan
        | '\u{1000}'..='\u{109F}' // Myanmar
        | '\u{1780}'..='\u{17FF}' // Khmer
        | '\u{1950}'..='\u{19DF}' // Tai Le, New Tai Lue
        | '\u{1A20}'..='\u{1AAF}' // Tai Tham
        | '\u{1B00}'..='\u{1B7F}' // Balinese
        | '\u{2E80}'..='\u{2FDF}' // radicals
        | '\u{3005}'..='\u{3007}'
        | '\u{3021}'..='\u{3029}'
        | '\u{3031}'..='\u{3035}'
        | '\u{3038}'..='\u{303C}'
        | '\u{3041}'..='\u{30FA}' // Hiragana, Katakana
        | '\u{30FC}'..='\u{312F}' // and Bopomofo
        | '\u{31A0}'..='\u{31BF}'
        | '\u{31F0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}' // Han
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{A980}'..='\u{A9FF}' // Javanese, Myanmar
        | '\u{AA60}'..='\u{AADF}' // Myanmar, Tai Viet
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FF66}'..='\u{FF9F}' // half-width Katakana
        | '\u{1AFF0}'..='\u{1B16F}'
        | '\u{20000}'..='\u{323AF}'
    )
}

/// Marks that never begin a word, outside the scripts of [`is_unspaced`].
fn is_extend(c: char) -> bool {
    matches!(c,
        '\u{0300}'..='\u{036F}'
        | '\u{0483}'..='\u{0489}'
        | '\u{0591}'..='\u{05BD}' | '\u{05BF}' | '\u{05C1}' | '\u{05C2}' | '\u{05C4}'
        | '\u{05C5}' | '\u{05C7}'
        | '\u{0610}'..='\u{061A}'
        | '\u{064B}'..='\u{065F}' | '\u{0670}'
        | '\u{06D6}'..='\u{06DC}' | '\u{06DF}'..='\u{06E4}'
        | '\u{1AB0}'..='\u{1AFF}'
        | '\u{1DC0}'..='\u{1DFF}'
        | '\u{200C}' | '\u{200D}' // joiners
        | '\u{20D0}'..='\u{20FF}'
        | '\u{3099}' | '\u{309A}'
        | '\u{FE00}'..='\u{FE0F}' // variation selectors
        | '\u{FE20}'..='\u{FE2F}'
        | '\u{1F3FB}'..='\u{1F3FF}' // skin tones
        | '\u{E0020}'..='\u{E007F}' // tags of flags
        | '\u{E0100}'..='\u{E01EF}'
    )
}

/// Whether text ends a sentence.
pub fn ends_sentence(text: &str) -> bool {
    text.chars()
        .rev()
        .find(|c| {
            !matches!(class(*c), Class::Quote) && !matches!(c, ')' | '”' | '’' | '」' | '』' | '»')
        })
        .is_some_and(|c| {
            matches!(
                c,
                '.' | '!'
                    | '?'
                    | '。'
                    | '！'
                    | '？'
                    | '…'
                    | '｡'
                    | '\u{061F}'
                    | '\u{06D4}'
                    | '\u{0964}'
                    | '\u{0965}'
                    | '\u{037E}'
                    | '\u{0589}'
                    | '\u{104B}'
                    | '\u{17D4}'
            )
        })
}

/// Whether a space belongs between two pieces of text that were told apart by something else
/// than their text: a segment's edge, an utterance's end.
pub fn space_between(before: &str, after: &str) -> bool {
    let unspaced =
        |c: char| is_unspaced(c) || matches!(c, '\u{3000}'..='\u{303F}' | '\u{FF00}'..='\u{FF65}');
    match (before.chars().next_back(), after.chars().next()) {
        (Some(a), Some(b)) => !(unspaced(a) && unspaced(b)),
        _ => false,
    }
}

/// The letters and digits of a word, in lower case: what is compared. The word itself where it
/// has none.
pub fn normalised(word: &str) -> String {
    let n: String =
        word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if n.is_empty() { word.to_owned() } else { n }
}
