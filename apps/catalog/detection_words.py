"""What columns of personal data are called: English, German, French, Spanish, Italian, Dutch, Portuguese. Data only.

A phrase is matched however it is written: `first_name`, `FirstName` and `FIRSTNAME` are one, accents and small words
such as `de` and `of` do not count, nor do digits.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Kind:
    """How a data class is recognised by a name. Phrases are parted by commas."""

    data_class: str
    restricted: bool
    spoken: str  # as in "its name speaks of …"
    types: str  # families of types that can hold it, see detection.Family
    phrases: str  # anywhere in a column's name
    whole: str = ""  # only when it is all of the name: the word means too much elsewhere
    of_people: str = ""  # likewise, and in a table of people alone


KINDS: Final = (
    Kind(
        "email", False, "e-mail addresses", "text json",
        """email, e mail, email address, mail address, mail addr, email addr, courriel, adresse mail, adresse email,
        adresse courriel, correo electrónico, dirección correo, posta elettronica, indirizzo mail, indirizzo email,
        mailadresse, emailadresse, mailadres, emailadres, endereço email, correio eletrónico, correio eletrônico""",
        whole="mail, correo",
    ),
    Kind(
        "phone", False, "telephone numbers", "text number json",
        """phone, phone number, phone no, telephone, telephone number, tel, tel no, tel number, telnr, cell phone,
        mobile phone, mobile number, mobile no, msisdn, fax, fax number, whatsapp, telefon, telefonnummer, telefon
        nr, tel nr, handynummer, mobilnummer, mobiltelefon, mobilfunk, rufnummer, téléphone, numéro téléphone,
        numéro tel, portable numéro, teléfono, número teléfono, móvil, celular, telefono, numero telefono,
        cellulare, numero cellulare, telefoon, telefoonnummer, mobiel, mobiel nummer, telefone, número telefone,
        telemóvel, contact number, num tel, num téléphone, num teléfono, handy nr""",
        whole="mobile, handy, mobil, gsm, landline",
        of_people="cell, portable",
    ),
    Kind(
        "name", False, "names of people", "text",
        """first name, last name, full name, given name, family name, middle name, maiden name, surname, forename,
        fname, lname, user name, account holder, card holder, cardholder name, holder name, billing name, shipping
        name, recipient name, sender name, nickname, next kin, contact person, name first, name last, vorname,
        nachname, familienname, geburtsname, zuname, rufname, ansprechpartner, kontoinhaber, karteninhaber, prénom,
        nom famille, nom naissance, nom jeune fille, nom complet, titulaire, apellido, primer apellido, segundo
        apellido, nombre completo, nombre pila, titular cuenta, cognome, nome cognome, nominativo, intestatario,
        achternaam, voornaam, tussenvoegsel, meisjesnaam, voorletters, volledige naam, contactpersoon,
        rekeninghouder, sobrenome, apelido, primeiro nome, nome completo, nome próprio, nome mãe, nome pai""",
        whole="emergency contact",
        of_people="name, nom, nome, naam, nombre, display name, legal name, initials, alias",
    ),
    Kind(
        "address", False, "addresses", "text json",
        """address, addr, street, street name, street address, house number, house no, straße, hausnummer, haus nr,
        hausnr, anschrift, adresse, adressen, wohnort, rue, numéro rue, voie, complément adresse, dirección,
        domicilio, calle, indirizzo, residenza, numero civico, adres, straat, straatnaam, huisnummer, huis nr,
        woonplaats, endereço, morada, rua, logradouro, home address, apartment number""",
        of_people="str",
    ),
    Kind(
        "postal_code", False, "postal codes", "text number",
        """postal code, post code, zip code, zip, plz, postleitzahl, code postal, código postal, codice postale,
        codice avviamento postale, postcode""",
        whole="cep, cp",
        of_people="cap",
    ),
    Kind(
        "date_of_birth", False, "birthdays", "text date number",
        """birth date, birth day, birthday, date birth, dob, birth year, year birth, birth month, born, born at,
        geburtsdatum, geburtstag, geburtsjahr, geb datum, gebdat, geb dat, date naissance, naissance, année
        naissance, jour naissance, fecha nacimiento, fec nacimiento, nacimiento, cumpleaños, data nascita, nascita,
        anno nascita, compleanno, geboortedatum, geboortejaar, geboorte datum, verjaardag, data nascimento, dt
        nascimento, nascimento, aniversário""",
    ),
    Kind(
        "ip_address", False, "network addresses", "text network",
        """ip, ip address, ip addr, ipv, client ip, user ip, remote ip, source ip, remote addr, remote address, mac
        address, mac addr, adresse ip, adresse mac, dirección ip, indirizzo ip, ip adresse, ip adres, endereço ip, x
        forwarded for""",
    ),
    Kind(
        "location", False, "places where somebody is or was", "text number json point",
        """geolocation, geo location, gps, gps position, gps coordinates, last location, current location, last
        position, home location, place birth, birth place, geburtsort, lieu naissance, lugar nacimiento, luogo
        nascita, geboorteplaats, local nascimento, naturalidade, aufenthaltsort, standortverlauf""",
        of_people="""latitude, longitude, lat, lng, lon, long, location, position, coordinates, geo, geopoint,
        breitengrad, längengrad, latitud, longitud, latitudine, longitudine, breedtegraad, lengtegraad""",
    ),
    Kind(
        "free_text", False, "what people have written", "text",
        """free text, freetext, freitext, note, remark, comment, bemerkung, bemerkungen, notiz, notizen, anmerkung,
        anmerkungen, kommentar, kommentare, commentaire, remarque, observation, observaciones, comentario,
        comentarios, osservazioni, commento, commenti, opmerking, opmerkingen, toelichting, observações, observação,
        comentário, message body, message text, feedback, complaint, beschwerde, réclamation""",
        of_people="bio, biography, about, description, memo, message",
    ),
    Kind(
        "card", True, "payment cards", "text number",
        """card number, card no, card num, card nr, cardno, credit card, credit card number, credit card no,
        creditcard, debit card, debit card number, payment card, cc number, cc num, cc no, ccnum, primary account
        number, cvv, cvc, card security code, card verification, kreditkarte, kreditkartennummer, kartennummer,
        karten nr, prüfnummer, carte bancaire, carte crédit, numéro carte, cryptogramme, tarjeta crédito, tarjeta
        débito, número tarjeta, carta credito, numero carta, creditcardnummer, kaartnummer, cartão crédito, número
        cartão""",
        whole="pan",
    ),
    Kind(
        "iban", True, "bank accounts", "text number",
        """iban, bank account, bank account number, bank account no, bank acct, sort code, routing number,
        kontonummer, konto nr, kontonr, bankverbindung, bankkonto, bankleitzahl, compte bancaire, numéro compte,
        cuenta bancaria, número cuenta, conto corrente, conto bancario, rekeningnummer, bankrekening,
        bankrekeningnummer, conta bancária, conta corrente, número conta""",
        whole="rib, blz, ccc, clabe",
    ),
    Kind(
        "national_id", True, "numbers that a state gives to people", "text number",
        """ssn, social security, social security number, social security no, social insurance number, national id,
        national id number, national identity number, national insurance, national insurance number, nino, tax id,
        tax number, tax no, taxpayer id, tax payer id, personal id number, passport, passport number, passport no,
        passport id, id card, id card number, identity card, identity number, identity document, government id,
        driver license, drivers license, driver licence, driving licence, driving license, nhs number, steuernummer,
        steuer nr, steuer id, steueridentifikationsnummer, steueridnr, sozialversicherungsnummer, sozialversicherung
        nr, sv nummer, sv nr, svnr, rentenversicherungsnummer, personalausweis, personalausweisnummer,
        ausweisnummer, ausweis nr, reisepass, reisepassnummer, passnummer, führerschein, führerscheinnummer, ahv
        nummer, ahv nr, numéro sécurité sociale, sécurité sociale, numéro sécu, num sécu, numéro fiscal, identifiant
        fiscal, carte identité, numéro passeport, passeport, permis conduire, seguridad social, número seguridad
        social, número identificación, documento identidad, cédula identidad, pasaporte, permiso conducir, codice
        fiscale, cod fiscale, codfiscale, carta identità, passaporto, tessera sanitaria, bsn, burgerservicenummer,
        sofinummer, sofi nummer, rijksregisternummer, paspoort, paspoortnummer, rijbewijs, rijbewijsnummer,
        identiteitskaart, cpf, niss, número contribuinte, contribuinte, cartão cidadão, bilhete identidade,
        passaporte, carta condução, identificação fiscal, personnummer, fødselsnummer, cpr nummer, cpr number,
        henkilötunnus, pesel, aadhaar, aadhar, curp, rodné číslo""",
        whole="nir, nif, dni, ahv, cpr, itin, idnr",
        of_people="nie, tin, nin, nn, cf, sin, rg",
    ),
    Kind(
        "health", True, "health", "any",
        """health condition, health data, health insurance, health record, medical, medical history, medical record,
        diagnosis, diagnoses, disease, illness, symptom, blood type, blood group, allergy, allergies, medication,
        prescription, disability, sick leave, sick day, sick note, icd code, icd, pregnant, pregnancy, hiv, hiv
        status, vaccination, vaccinated, krankheit, diagnose, diagnosen, krankmeldung, krankheitstage, kranktage,
        krankenkasse, krankenversicherung, versichertennummer, blutgruppe, allergie, allergien, behinderung,
        schwerbehinderung, schwerbehindert, schwanger, medikament, medikamente, befund, patientenakte, maladie,
        groupe sanguin, arrêt maladie, antécédents médicaux, médicament, mutuelle santé, enfermedad, diagnóstico,
        alergia, grupo sanguíneo, discapacidad, medicamento, medicación, baja médica, historia clínica, malattia,
        diagnosi, allergia, gruppo sanguigno, disabilità, farmaco, cartella clinica, ziekte, bloedgroep, medicatie,
        ziekteverzuim, ziekmelding, zorgverzekering, doença, tipo sanguíneo, gravidez""",
        of_people="""handicap, treatment, behandlung, traitement, tratamiento, tratamento, trattamento, behandeling,
        deficiência""",
    ),
    Kind(
        "biometric", True, "biometric data", "text binary json number",
        """biometric, biometrics, biometrie, biometría, biometria, fingerprint template, fingerprint image,
        fingerprint scan, fingerabdruck, empreinte digitale, huella dactilar, huella digital, impronta digitale,
        vingerafdruk, impressão digital, face encoding, face embedding, face template, face print, faceprint, facial
        recognition, face id, iris scan, iris template, retina scan, voice print, voiceprint, dna, genome, genotype,
        dna sequence""",
        of_people="fingerprint",
    ),
    Kind(
        "credential", True, "passwords, tokens or keys", "text binary json uuid",
        """password, passwd, passwort, pass word, pwd, password hash, passhash, pass phrase, passphrase, client
        secret, secret key, shared secret, webhook secret, app secret, api secret, api key, apikey, api token,
        access key, private key, signing key, encryption key, ssh key, license key, access token, refresh token,
        auth token, bearer token, session token, session key, reset token, id token, csrf token, otp secret, totp
        secret, totp, mfa secret, recovery code, backup code, security answer, secret answer, kennwort,
        benutzerpasswort, mot passe, contraseña, clave acceso, clave secreta, parola chiave, parola ordine,
        wachtwoord, senha, palavra passe, pin code, jwt, credential""",
        whole="secret, token, pin, mdp, salt",
        of_people="pass, clave",
    ),
    Kind(
        "salary", True, "what people earn", "text number",
        """salary, salaries, base salary, wage, wages, base pay, gross pay, net pay, gross salary, net salary, pay
        rate, annual income, monthly income, household income, yearly income, gehalt, bruttogehalt, nettogehalt,
        jahresgehalt, monatsgehalt, grundgehalt, lohn, bruttolohn, nettolohn, stundenlohn, vergütung, einkommen,
        jahreseinkommen, salaire, salaire brut, salaire net, rémunération, revenu annuel, revenu mensuel, sueldo,
        salario, salario bruto, nómina, remuneración, ingresos anuales, stipendio, retribuzione, reddito, salaris,
        brutosalaris, uurloon, maandloon, jaarinkomen, salário, ordenado, remuneração, rendimento anual""",
        of_people="income, compensation, bonus, pay, loon, inkomen",
    ),
)  # fmt: skip

# Phrases with which a longer one takes a word its meaning.
NEUTRAL: Final = """web address, memory address, base address, wallet address, contract address, address book, gift
    card, gift card number, loyalty card, loyalty card number, business card, sim card, graphics card, card name,
    secret santa, house name, street view, mail merge, phone model, name server, note taking, comment thread,
    primary key, foreign key, public key, cache key, sort key, partition key, release note, release notes, credit
    note, credit note number, delivery note, delivery note number, note frais, token type, card last, card
    number last, credit card last, credit card number last, cc last, pan last, card first"""

# After a match these say that the column is about it, not it.
ABOUT: Final = """id, ids, count, cnt, type, kind, status, state, flag, verified, confirmed, validated, valid,
    enabled, disabled, required, sent, changed, updated, created, expires, expired, expiry, expiration, at,
    template, format, length, len, provider, domain, label, subject, limit, attempt, attempts, ttl, version, policy,
    method, source, optin, opt, consent, category, brand, network, currency, unit, total, index, queue, server,
    host, port, folder, app, os, platform, date, time, region, country, language, locale, used, uses, rule, rules,
    strength, issuer, typ, art, anzahl, datum, gesendet, bestätigt, statut, envoyé, vérifié, tipo, estado, enviado,
    cantidad, fecha, stato, inviato, soort, aantal, verzonden, quantidade, pending, notifications, notification,
    preference, preferences, visible, public, bounced, bounces, schema, table, column"""

# Found at the end of a longer word too, as all phrases of eight letters and more are.
ENDINGS: Final = "email, adresse, strasse, telefon"

# In front of a match, likewise: is_…, has_…, number of …
ASKING: Final = """is, has, was, are, can, should, may, must, needs, wants, allow, allows, enable, enables, use,
    uses, show, shows, num, count, total, nb, anz, anzahl, ist, hat, est, es, tem, max, min, avg"""

# Words that do not tell one phrase from another.
SMALL: Final = """a, an, and, das, de, del, der, des, di, die, do, dos, du, el, et, het, il, l, la, las, le, les,
    lo, los, o, of, s, the, to, und, van, y"""

# Of a table, in one of these words' singular or plural.
PEOPLE: Final = """customer, client, user, person, people, human, individual, employee, staff, worker, patient,
    contact, member, applicant, candidate, student, teacher, pupil, doctor, nurse, driver, passenger, guest,
    subscriber, visitor, beneficiary, recipient, participant, attendee, citizen, resident, personnel, kunde, kunden,
    mitarbeiter, benutzer, patienten, mitglied, mitglieder, schüler, bewerber, ansprechpartner, personal, personen,
    utilisateur, employé, salarié, personne, adhérent, élève, membre, usuario, cliente, empleado, paciente, persona,
    alumno, contacto, trabajador, utente, utenti, clienti, dipendente, dipendenti, persone, paziente, pazienti,
    klant, klanten, gebruiker, medewerker, werknemer, persoon, patiënt, leden, utilizador, utilizadores,
    funcionário, pessoa, colaborador, colaboradores"""

# A table of these is of what the word before says: employee_details.
DETAILS: Final = """profile, detail, data, info, information, master, record, history, archive, backup, old, tmp,
    copy, list, stammdaten, daten, table, tbl, dim, base"""

# With the word for a person: customer_name, nom_client.
NAME_WORDS: Final = ("name", "nom", "nome", "naam", "nombre")
