from __future__ import annotations

import copy
import csv
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import soundfile
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast

from raywce.evaluation.decode import (
    Audio,
    TokenBound,
    Transcription,
    batch_by_duration,
    evaluate_utterances,
    evaluating,
    gather_rows,
    transcribe,
)
from raywce.evaluation.rates import rates_by_language
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.utterances import UtteranceResult, to_table
from raywce.evaluation.writing import is_written_in_bytes
from tests.evaluation.talking_whisper import write_talking_whisper
from tests.speech import WHISPER, folder_of

LANGUAGES = ["en", "es", "gl", "en", "es", "gl"]
SECONDS = [1.0, 2.0, 0.5, 3.0, 1.0, 1.5]


@dataclass(frozen=True)
class Said:
    id: str
    language: str
    speaker: str | None
    duration: float
    text: str


UTTERANCES = [Said(f"u{i}", LANGUAGES[i], None, SECONDS[i], "uu ww") for i in range(6)]


pytestmark = pytest.mark.usefixtures("one_thread")


def random_features() -> torch.Tensor:
    features = torch.randn(6, 80, 3000, generator=torch.Generator().manual_seed(0))
    return features * torch.tensor([0.2, 0.5, 1, 2, 3, 4])[:, None, None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talking_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def model(folder: Path) -> WhisperForConditionalGeneration:
    return WhisperForConditionalGeneration.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def tokenizer(model: WhisperForConditionalGeneration, folder: Path) -> WhisperTokenizerFast:
    return WhisperTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    return random_features()


def _transcribe(model, tokenizer, features, languages, seconds, **settings) -> list[Transcription]:
    ((number, transcriptions),) = transcribe(
        model, tokenizer, [Audio(features, languages, seconds)], windows=1, **settings
    )
    assert number == 0
    return transcriptions


def _evaluate(model, tokenizer, features, **changes) -> list[UtteranceResult]:
    """`changes` are of the settings, or say which rank decodes."""
    own = {name: changes.pop(name) for name in ("rank", "world_size", "on_batch") if name in changes}
    settings = DecodeSettings(**{"batch_size": 4, "identify_language": True, **changes})
    return gather_rows(
        evaluate_utterances(model, tokenizer, UTTERANCES, lambda batch: features[batch], settings, **own)
    )


def test_equals_generate_one_by_one_cut_at_the_bound(model, tokenizer, features) -> None:
    got = _transcribe(model, tokenizer, features, LANGUAGES, SECONDS)
    for index, transcription in enumerate(got):
        limit = math.ceil(25 * SECONDS[index]) + 10
        tokens = model.generate(
            features[index : index + 1], language=LANGUAGES[index], task="transcribe", max_new_tokens=limit
        )
        assert transcription.text == tokenizer.batch_decode(tokens, skip_special_tokens=True)[0].strip()
        longer = model.generate(
            features[index : index + 1], language=LANGUAGES[index], task="transcribe", max_new_tokens=limit + 1
        )
        assert transcription.truncated == (longer.shape[1] > tokens.shape[1] or tokens.shape[1] == limit)
    assert {transcription.truncated for transcription in got} == {True, False}


def test_an_utterance_that_was_stopped_is_known_as_one(model, tokenizer, features) -> None:
    looping = copy.deepcopy(model)
    looping.model.decoder.embed_positions.weight.data *= 0.02  # so that it begins to repeat itself
    seconds = [8.0 + index for index in range(len(UTTERANCES))]
    utterances = [replace(one, duration=length) for one, length in zip(UTTERANCES, seconds, strict=True)]
    rows = {}
    for stop_loops in (False, True):
        settings = DecodeSettings(batch_size=4, stop_loops=stop_loops)
        rows[stop_loops] = gather_rows(
            evaluate_utterances(looping, tokenizer, utterances, lambda batch: features[batch], settings)
        )
    assert not any(row.stopped for row in rows[False])
    assert 0 < sum(row.stopped for row in rows[True]) < len(utterances)
    for whole, short in zip(rows[False], rows[True], strict=True):
        assert short.truncated == whole.truncated
        assert len(short.hypothesis) < len(whole.hypothesis) if short.stopped else short == whole


def test_each_sample_is_decoded_in_its_own_language(model, tokenizer, features) -> None:
    same_audio, codes = features[:1].expand(3, -1, -1), ["en", "es", "gl"]
    together = _transcribe(model, tokenizer, same_audio, codes, [1.0] * 3)
    alone = [_transcribe(model, tokenizer, features[:1], [code], [1.0])[0] for code in codes]
    assert together == alone
    assert len({transcription.text for transcription in alone}) > 1


def test_language_is_identified_from_the_first_decoder_step(model, tokenizer, features) -> None:
    got = _transcribe(model, tokenizer, features, LANGUAGES, SECONDS, identify_language=True)
    config = model.generation_config
    start = torch.full((6, 1), config.decoder_start_token_id)
    with torch.no_grad():
        logits = model(input_features=features, decoder_input_ids=start).logits[:, 0]
    codes = {token[2:-2]: logits[:, token_id] for token, token_id in config.lang_to_id.items()}
    expected = [max(codes, key=lambda code: float(codes[code][index])) for index in range(6)]
    assert [transcription.detected_language for transcription in got] == expected
    assert expected != [next(iter(codes))] * 6


def test_a_language_the_model_cannot_generate_in_is_refused(model, tokenizer, features) -> None:
    with pytest.raises(ValueError, match="pt"):
        _transcribe(model, tokenizer, features[:1], ["pt"], [1.0])


def test_bound_grows_with_the_audio_and_ends_at_the_decoders_positions() -> None:
    bound = TokenBound(per_second=10, extra=3)
    assert bound.tokens(0.0, "gl", 448) == 3
    assert bound.tokens(1.01, "gl", 448) == 14
    assert TokenBound().tokens(30.0, "ka", 448) == 444
    assert TokenBound().tokens(30.0, "gl", 64) == 60


# Article 1 of the Universal Declaration of Human Rights.
WRITTEN_IN_BYTES = {
    "am": "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና በመብትም እኩልነት ያለው ነው።",
    "bn": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।",
    "bo": "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས་ཆེ་མཐོངས་དང༌། ཐོབ་ཐངགི་རང་དབང་འདྲ་མཉམ་དུ་ཡོད།",
    "gu": "પ્રતિષ્ઠા અને અધિકારોની દૃષ્ટિએ સર્વ માનવો જન્મથી સ્વતંત્ર અને સમાન હોય છે.",
    "ka": "ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და უფლებებით.",
    "km": "មនុស្សទាំងអស់កើតមកមានសេរីភាព និងសមភាព ក្នុងផ្នែកសេចក្ដីថ្លៃថ្នូរនិងសិទ្ធិ។",
    "kn": "ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರಾಗಿಯೇ ಜನಿಸಿದ್ದಾರೆ. ಹಾಗೂ ಘನತೆ ಮತ್ತು ಹಕ್ಕುಗಳಲ್ಲಿ ಸಮಾನರಾಗಿದ್ದಾರೆ.",
    "lo": "ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ, ສິດທິ, ເສລີພາບ ແລະ ຄວາມສະເໝີພາບເທົ່າທຽມກັນ.",
    "ml": "മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടും അന്തസ്സോടും സ്വാതന്ത്ര്യത്തോടുംകൂടി ജനിച്ചിട്ടുള്ളവരാണ്.",
    "my": "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် လည်းကောင်း၊ တူညီလွတ်လပ်သော အခွင့်အရေးများဖြင့် လည်းကောင်း။",
    "pa": "ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ ਆਪਣੀ ਮਹਿਮਾ, ਸ਼ਾਨ ਅਤੇ ਹੱਕਾਂ ਦੇ ਪੱਖੋਂ ਜਨਮ ਤੋਂ ਹੀ ਆਜ਼ਾਦ ਹੈ।",
    "si": "සියලු මනුෂ්‍යයෝ නිදහස්ව උපත ලබා ඇත. ගරුත්වයෙන් හා අයිතිවාසිකම්වලින් සමාන වෙති.",
    "te": "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును జన్మతః స్వతంత్రులును సమానులును నగుదురు.",
}
LETTERS_A_SECOND = 15


@pytest.mark.parametrize("language", sorted(WRITTEN_IN_BYTES))
def test_the_bound_leaves_room_for_scripts_that_are_written_in_bytes(language: str) -> None:
    text = WRITTEN_IN_BYTES[language]
    tokens = len(text.encode()) + 1  # the most that a byte-level vocabulary takes, and the end token
    assert TokenBound().tokens(len(text) / LETTERS_A_SECOND, language, 448) >= tokens


@pytest.mark.parametrize("language", ["ca", "de", "en", "es", "fr", "gl", "it", "nl", "pt"])
def test_the_bound_of_languages_in_latin_script_is_25_tokens_a_second(language: str) -> None:
    assert TokenBound().tokens(4.0, language, 448) == 110


def test_languages_written_in_bytes_are_those_of_which_whisper_takes_several_tokens_a_character() -> None:
    whisper = WhisperTokenizerFast.from_pretrained(folder_of(WHISPER))
    others = {
        "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
        "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
        "hy": "Բոլոր մարդիկ ծնվում են ազատ ու հավասար՝ իրենց արժանապատվությամբ և իրավունքներով։",
        "ta": "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்; அவர்கள் மதிப்பிலும் உரிமைகளிலும் சமமானவர்கள்.",
        "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
        "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.",
        "zh": "人人生而自由,在尊严和权利上一律平等。",
    }
    counted = {
        language: len(whisper(text, add_special_tokens=False).input_ids) / len(text)
        for language, text in {**WRITTEN_IN_BYTES, **others}.items()
    }
    assert {language for language, tokens in counted.items() if tokens > 1.4} == set(WRITTEN_IN_BYTES)
    assert {language for language in counted if is_written_in_bytes(language)} == set(WRITTEN_IN_BYTES)


def test_each_utterance_has_the_bound_of_its_language(model, tokenizer, features) -> None:
    endless = copy.deepcopy(model)
    letters = tokenizer.convert_tokens_to_ids(list("abcdefgh"))  # a character each, and no end token
    endless.generation_config.suppress_tokens = sorted(set(range(model.config.vocab_size)) - set(letters))
    endless.generation_config.lang_to_id["<|ka|>"] = tokenizer.convert_tokens_to_ids("<|ka|>")
    found = _transcribe(endless, tokenizer, features[:2], ["ka", "gl"], [2.0, 2.0])
    assert [len(one.text) for one in found] == [110, 60]
    found = _transcribe(endless, tokenizer, features[:1], ["ka"], [30.0])
    assert [len(one.text) for one in found] == [444], "what the decoder's positions leave"


def test_the_longest_bound_fits_the_decoder(model, tokenizer, features) -> None:
    assert _transcribe(model, tokenizer, features[:1], ["en"], [30.0])[0].text


def test_text_does_not_depend_on_batch_or_number_of_shards(model, tokenizer, features) -> None:
    whole = _evaluate(model, tokenizer, features)
    assert _evaluate(model, tokenizer, features, batch_size=1) == whole
    shares = [_evaluate(model, tokenizer, features, batch_size=2, rank=rank, world_size=2) for rank in (0, 1)]
    assert all(shares)
    assert gather_rows(shares[0] + shares[1]) == whole
    rates = rates_by_language(to_table(shares[0] + shares[1]))
    assert rates == rates_by_language(to_table(whole))
    assert [(row.language, row.id) for row in whole] == sorted((said.language, said.id) for said in UTTERANCES)


def test_what_can_not_be_loaded_ends_the_evaluation(model, tokenizer, features) -> None:
    def load(batch: list[int]) -> torch.Tensor:
        if len(batch) < 4:
            raise OSError("gone")
        return features[batch]

    with pytest.raises(OSError, match="gone"):
        evaluate_utterances(model, tokenizer, UTTERANCES, load, DecodeSettings(batch_size=4))


def test_a_language_takes_anothers_token(model, tokenizer, features) -> None:
    asturian = [Said("a", "ast", "s", 1.0, "uu")]
    spanish = [Said("a", "es", "s", 1.0, "uu")]

    def decode(said, tokens):
        settings = DecodeSettings(language_tokens=tokens, batch_size=1)
        return evaluate_utterances(model, tokenizer, said, lambda batch: features[batch], settings)[0]

    row = decode(asturian, {"ast": "es"})
    assert (row.language, row.language_token) == ("ast", "es")
    assert row.hypothesis == decode(spanish, {}).hypothesis


def test_normaliser_and_identification_are_options(model, tokenizer, features) -> None:
    rows = _evaluate(model, tokenizer, features, normalizer="whisper_basic", identify_language=False)
    assert {row.normalizer for row in rows} == {"whisper_basic/1"}
    assert {row.detected_language for row in rows} == {None}
    assert {row.detected_language for row in _evaluate(model, tokenizer, features)} <= {"en", "es", "gl"}


def test_runs_under_bfloat16_and_reports_its_progress(model, tokenizer, features) -> None:
    done: list[int] = []
    rows = _evaluate(model, tokenizer, features, precision="bf16", on_batch=done.append)
    assert len(rows) == 6
    assert sorted(done) == [2, 4]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_products_are_rounded_to_tf32_for_tf32_alone(model, tokenizer, features, precision: str) -> None:
    seen: list[tuple[bool, bool]] = []

    def look(*_: object) -> None:
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))

    hook = model.model.encoder.conv1.register_forward_hook(look)
    _evaluate(model, tokenizer, features, precision=precision)
    hook.remove()
    assert set(seen) == {(precision == "tf32",) * 2}


def test_auto_is_what_the_processor_has(model, tokenizer, features, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raywce.precision._CPU_FLAGS", set())
    auto, fp32 = (_evaluate(model, tokenizer, features, precision=precision) for precision in ("auto", "fp32"))
    assert auto == fp32


def test_training_state_and_random_state_are_left_as_they_were(model, tokenizer, features) -> None:
    model.train()
    model.model.encoder.eval()
    modes = [module.training for module in model.modules()]
    random_state = torch.get_rng_state()
    _evaluate(model, tokenizer, features)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random_state)
    model.eval()


def test_an_error_while_evaluating_leaves_the_training_mode() -> None:
    module = torch.nn.Dropout().train()

    def fail_inside() -> None:
        with evaluating(module):
            assert not module.training
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert module.training


def test_training_goes_on_after_evaluating_under_autocast(model, tokenizer, features) -> None:
    _evaluate(model, tokenizer, features, precision="bf16")
    model(input_features=features[:1], labels=torch.tensor([[5, 6]])).loss.backward()
    assert all(parameter.grad is not None for parameter in model.model.decoder.layers.parameters())
    model.zero_grad()


@pytest.mark.parametrize(("count", "size"), [(0, 4), (1, 4), (10, 4), (8, 4)])
def test_batches_hold_everything_once_longest_first(count: int, size: int) -> None:
    durations = [(7 * index) % 5 + 0.5 for index in range(count)]
    batches = batch_by_duration(durations, size)
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(count))
    assert [durations[index] for index in order] == sorted(durations, reverse=True)
    assert all(len(batch) == size for batch in batches[:-1])
    assert batches == batch_by_duration(durations, size)


def _decode_in_a_rank(rank: int, whisper: Path, out: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{out}/store", rank=rank, world_size=2)
    model = WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    tokenizer = WhisperTokenizerFast.from_pretrained(whisper)
    rows = _evaluate(model, tokenizer, random_features(), batch_size=2, rank=rank, world_size=2)
    torch.save(rows, out / f"rows{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_gather_what_one_decodes(model, tokenizer, features, folder: Path, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_decode_in_a_rank, (folder, tmp_path), nprocs=2)
    whole = _evaluate(model, tokenizer, features, batch_size=2)
    for rank in (0, 1):
        assert torch.load(tmp_path / f"rows{rank}.pt", weights_only=False) == whole


def _clips(speech: Path) -> list[tuple[str, torch.Tensor]]:
    """The shortest dev clip of each of three languages."""
    clips = []
    for language in ("es", "ca", "gl"):
        split = speech / language / "dev"
        with (split / "metadata.csv").open(newline="", encoding="utf-8") as file:
            names = [row["file_name"] for row in csv.DictReader(file)]
        audio = [soundfile.read(split / name, dtype="float32")[0] for name in names]
        clips.append((language, min(audio, key=len)))
    return clips


@pytest.mark.slow
@pytest.mark.skipif(
    not (os.environ.get("RAYWCE_SPEECH") and os.environ.get("RAYWCE_WHISPER")),
    reason="RAYWCE_SPEECH (recordings) and RAYWCE_WHISPER (a real checkpoint's folder) are not both set",
)
def test_real_speech_decodes_as_the_transformers_recipe_does() -> None:
    checkpoint = os.environ["RAYWCE_WHISPER"]
    model = WhisperForConditionalGeneration.from_pretrained(checkpoint).eval()
    tokenizer = WhisperTokenizerFast.from_pretrained(checkpoint)
    languages, audio = zip(*_clips(Path(os.environ["RAYWCE_SPEECH"])), strict=True)
    extractor = WhisperFeatureExtractor.from_pretrained(checkpoint)
    features = extractor(list(audio), sampling_rate=16_000, return_tensors="pt").input_features
    seconds = [len(samples) / 16_000 for samples in audio]
    got = _transcribe(model, tokenizer, features, languages, seconds, identify_language=True)
    tokens = model.generate(features, language=list(languages), task="transcribe")
    expected = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    assert [transcription.text for transcription in got] == [text.strip() for text in expected]
    assert not any(transcription.truncated for transcription in got)
    detected = model.detect_language(features).tolist()
    codes = {token_id: token[2:-2] for token, token_id in model.generation_config.lang_to_id.items()}
    assert [transcription.detected_language for transcription in got] == [codes[token] for token in detected]
